// Griffin: the model as a whole. Training gives a loss and hands out gradients unit by unit;
// inference reads tokens into a State. One forward pass serves both.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "model/layers.h"

namespace eyrie::model {

// One micro-shard, or any batch: `sequences` rows of `length` tokens. Memory belongs to the caller.
struct BatchView {
  std::int64_t sequences, length;
  const std::int32_t* tokens;  // in [0, vocabulary)
  const std::int32_t*
      targets;  // the token to predict at each place; anything where the weight is 0
  const std::int32_t* positions;  // place in the token's own document; 0 starts one
  const float* weight;            // 0 or 1: the loss mask
};

// Takes the gradients of one micro-shard. For each unit gradient() is asked once, before it is
// written, and finished() is called once, when it is complete: final norm, last block … first
// block, embedding. Buffers are unit.size fp32; gaps between rows are left as they are (keep them
// zero).
class GradientSink {
 public:
  virtual ~GradientSink() = default;
  virtual float* gradient(std::size_t unit) = 0;
  virtual void finished(std::size_t unit) = 0;
};

// Rows whose logits exist at a time in training, never the whole batch's: about 4 million numbers,
// but enough rows that the products of a large vocabulary do not wait for memory (a piece adds to
// the whole table's gradient).
constexpr std::int64_t logit_rows(std::int64_t vocabulary) {
  return std::clamp<std::int64_t>((std::int64_t{4} << 20) / vocabulary, 128, 512);
}

// Memory of a pass; reused from pass to pass.
struct Workspace {
  tensor::Arena saved, scratch;
  void restart() {  // of a pass: what the one before kept is free
    saved.release({});
    scratch.release({});
  }
};

struct ReadOptions {
  // By sequence, how many of its `length` tokens there are (0 … length); the rest is padding, whose
  // outputs mean nothing. Empty: all.
  std::span<const std::int64_t> lengths = {};
  // Of every token, its place in its own document; 0 starts one. Null: documents go on.
  const std::int32_t* positions = nullptr;
};

// Thread-compatible: one pass at a time a Workspace. Not movable (layers refer to the
// configuration). On several ranks every call that runs a pass is collective over the tensor ranks
// of `share`, and a loss over the context ranks too.
class Griffin {
 public:
  explicit Griffin(const GriffinConfig& config, const Share& share = {});
  Griffin(const Griffin&) = delete;
  Griffin& operator=(const Griffin&) = delete;

  const GriffinConfig& config() const { return config_; }
  const Share& share() const { return share_; }
  // In training keep the input of every block alone, and run the block again before its backward
  // pass: the same bits, for a third more computation (Chen et al. 2016).
  void set_recompute(bool recompute) { recompute_ = recompute; }

  // With this tensor rank's slices: embedder, blocks.0 …, final_norm.
  const std::vector<parallel::Unit>& units() const { return units_; }

  // Σ weight · nll over the batch, nats. The overload with a sink also gives the gradient of
  // gradient_scale · Σ weight · nll. With context ranks all give the whole batch, positions
  // included; the loss and the gradient are then this rank's terms of the sum over them (and `nll`
  // is of its own piece).
  double loss(const Parameters& parameters, const BatchView& batch, Workspace& workspace,
              std::vector<float>* nll = nullptr) const;
  double loss(const Parameters& parameters, const BatchView& batch, Workspace& workspace,
              float gradient_scale, GradientSink& sink) const;

  // Reads sequences · length tokens (n) into `state`. Returns the output of the final norm (n, D)
  // in compute dtype; it lives in workspace.saved, which the next pass empties.
  tensor::Tensor read(const Parameters& parameters, std::span<const std::int32_t> tokens,
                      std::int64_t length, State& state, Workspace& workspace,
                      const ReadOptions& options = {}) const;
  // The next token of each sequence: the same, at the memory's speed. A sequence's bits do not
  // depend on the others in the state.
  tensor::Tensor step(const Parameters& parameters, std::span<const std::int32_t> tokens,
                      State& state, Workspace& workspace) const;

  // (rows of hidden, vocabulary) fp32, soft cap applied unless told otherwise. `decode`: few rows,
  // as step() makes them.
  void logits(const Parameters& parameters, const tensor::Tensor& hidden, const tensor::Tensor& out,
              bool capped = true, bool decode = false) const;

  // FLOPs a token of forward and backward, by the formula in docs/training.md; attention counted
  // for `length` tokens.
  double flops_per_token(std::int64_t length) const;

  // What State is made for: the configuration with this rank's channels.
  const GriffinConfig& state_config() const { return state_config_; }

 private:
  struct Block;
  struct Tape;    // what one block saved
  struct Stream;  // the residual stream, and what is still to be added to it
  void forward_block(std::size_t i, Stream& stream, Pass& pass, Tape& tape, bool keeps) const;
  Pass begin_pass(const Parameters& parameters, std::int64_t sequences, std::int64_t length,
                  const std::int32_t* positions, State* state, Workspace& workspace) const;
  BatchView own_piece(const BatchView& batch, Workspace& workspace) const;
  void see(Pass& pass, const std::int32_t* positions, std::int64_t begin) const;
  // Between the residual stream, which tensor ranks may split along the sequence, and the blocks,
  // which read all of it and give terms of a sum.
  std::int64_t stream_rows(const Pass& pass) const;
  tensor::Tensor to_block(const tensor::Tensor& own, Pass& pass) const;
  tensor::Tensor block_output(const tensor::Tensor& own, Pass& pass) const;
  void from_block(const tensor::Tensor& terms, const tensor::Tensor& own, Pass& pass,
                  tensor::DType wire) const;
  tensor::Tensor read_pass(Pass& pass, const std::int32_t* tokens, State& state) const;
  tensor::Tensor run(Pass& pass, const std::int32_t* tokens, std::vector<Tape>& tapes,
                     bool training) const;
  double head(Pass& pass, const tensor::Tensor& hidden, const BatchView& batch,
              float gradient_scale, float* gradients, const tensor::Tensor& dhidden,
              std::vector<float>* nll) const;
  void cross_entropy(Pass& pass, const tensor::Tensor& logits, const tensor::Tensor& targets,
                     const tensor::Tensor& weight, const tensor::Tensor& nll,
                     const tensor::Tensor& dlogits, float gradient_scale) const;
  void split_logits(const Parameters& parameters, const tensor::Tensor& hidden,
                    const tensor::Tensor& out, bool decode) const;
  double run_loss(const Parameters& parameters, const BatchView& batch, Workspace& workspace,
                  float gradient_scale, GradientSink* sink, std::vector<float>* nll) const;

  GriffinConfig config_, state_config_;
  Share share_;
  Sizes sizes_;
  bool recompute_ = false;
  std::vector<parallel::Unit> units_;
  std::vector<std::shared_ptr<const Block>> blocks_;
};

}  // namespace eyrie::model
