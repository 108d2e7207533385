// Recurrent state: all that a model keeps of the tokens it has read. Its size stops growing at the
// attention window (except with global attention, as in the Transformer baseline, which keeps all
// keys).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/file.h"
#include "model/config.h"
#include "tensor/arena.h"
#include "tensor/ops/few_rows.h"

namespace eyrie::model {

// The model and tokenizer that a saved state belongs to. What the file or the reader leaves empty
// ("") is not compared.
struct StateOwner {
  std::string weights = {};    // their fingerprint (model/weights/fingerprint.h)
  std::string tokenizer = {};  // the hash of the tokenizer
};

// The state of several sequences, each with its own length and start. A recurrent layer keeps the
// fp32 state and the last 3 convolution inputs; an attention layer keeps a ring buffer of the last
// window + 1 keys (rotated) and values in the compute dtype, which grows to that size as tokens
// come. Owns its memory. Used by one thread.
class State {
 public:
  State(const GriffinConfig& config, tensor::DType compute, std::int64_t sequences,
        tensor::Device device = tensor::Device::kCpu);  // nothing read yet

  std::int64_t sequences() const { return static_cast<std::int64_t>(marks_.size()); }
  std::int64_t tokens(std::int64_t sequence) const { return mark(sequence).tokens; }  // read so far
  // Position of the next token in its document; 0 at the start.
  std::int64_t position(std::int64_t sequence) const { return mark(sequence).position; }
  std::size_t bytes() const;  // held now

  // Returns `sequences` copies of the sequence `from`, which can then continue independently.
  State fork(std::int64_t from, std::int64_t sequences) const;
  // Appends a copy of the sequence `from` of `other`.
  void append(const State& other, std::int64_t from);
  // Removes a sequence; the last one moves into its place.
  void remove(std::int64_t sequence);

  // One HDF5 file (docs/formats/state.md). `unread`: tokens of the text that are still to be read.
  // load() throws InputError if the file is damaged, not finite, or of another model, dtype or
  // owner.
  void save(const base::Path& path, const std::vector<std::int32_t>& unread = {},
            const StateOwner& owner = {}) const;
  static State load(const base::Path& path, const GriffinConfig& config, tensor::DType compute,
                    std::vector<std::int32_t>* unread = nullptr, const StateOwner& owner = {});

  // ---- For the layers.
  tensor::Tensor recurrent(std::size_t layer) const;    // (sequences, rnn_width) fp32
  tensor::Tensor convolution(std::size_t layer) const;  // (sequences · 3, rnn_width), oldest first
  // Stores keys and values (n, head_dim) of the sequence's next n tokens in its ring.
  void put(std::size_t layer, std::int64_t sequence, const tensor::Tensor& keys,
           const tensor::Tensor& values);
  // Copies the last n rows of the ring, oldest first, to keys and values (n, head_dim).
  void last(std::size_t layer, std::int64_t sequence, const tensor::Tensor& keys,
            const tensor::Tensor& values) const;
  // For a token that put() has stored and advance() has not counted yet.
  tensor::KeyRing ring(std::size_t layer, std::int64_t sequence, std::int64_t seen) const;
  // Called when all layers have read n more tokens; `position` is the next token's, in its
  // document.
  void advance(std::int64_t sequence, std::int64_t n, std::int64_t position);

 private:
  struct Ring {
    tensor::Buffer keys, values;  // (slots, head_dim); token i is in slot i mod slots
    std::int64_t slots = 0;
  };
  struct Layer {
    tensor::Buffer recurrent, convolution;  // recurrent layers
    std::vector<Ring> rings;                // attention layers; by sequence
  };
  struct Mark {
    std::int64_t tokens = 0, position = 0;
  };
  const Mark& mark(std::int64_t sequence) const {
    return marks_[static_cast<std::size_t>(sequence)];
  }
  std::size_t key_bytes() const;  // of one slot
  tensor::Tensor rows_of(const Ring& ring, const tensor::Buffer& memory) const;
  void grow(std::size_t layer, Ring& ring, std::int64_t tokens) const;

  GriffinConfig config_;
  tensor::DType compute_;
  tensor::Device device_;
  std::vector<Mark> marks_;
  std::vector<Layer> layers_;
};

}  // namespace eyrie::model
