// Griffin: the whole model. Training returns a loss and delivers gradients unit by unit; inference
// reads tokens into a State. Both use the same forward pass.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "model/layers.h"

namespace eyrie::model {

// One micro-shard, or any batch: `sequences` rows of `length` tokens. The tensors are (1, sequences
// · length), on the device of the parameters. The caller owns the memory.
struct BatchView {
  std::int64_t sequences, length;
  tensor::Tensor tokens;     // int32, in [0, vocabulary)
  tensor::Tensor targets;    // int32: the token to predict at each position; ignored where masked
  tensor::Tensor positions;  // int32: position in the token's document; 0 starts a document
  tensor::Tensor loss_mask;  // fp32, 0 or 1
};

// Receives the gradients of one micro-shard. For each unit, gradient() is called once to get the
// buffer to write, and finished() once when it is complete, in this order: final norm, last block …
// first block, embedding. Buffers are (1, unit.size) fp32; gaps between parameters are not written
// (keep them zero).
class GradientSink {
 public:
  virtual ~GradientSink() = default;
  virtual tensor::Tensor gradient(std::size_t unit) = 0;
  virtual void finished(std::size_t unit) = 0;
};

// How many rows of logits exist at a time in training (never the whole batch's): about 4 million
// numbers, but enough rows that the matrix products of a large vocabulary are not memory-bound
// (each chunk adds to the gradient of the whole table).
constexpr std::int64_t logit_rows(std::int64_t vocabulary) {
  return std::clamp<std::int64_t>((std::int64_t{4} << 20) / vocabulary, 128, 512);
}

// Memory of a pass, on the device of the parameters; reused from pass to pass.
struct Workspace {
  explicit Workspace(tensor::Device device = tensor::Device::kCpu,
                     std::size_t chunk_bytes = tensor::Arena::kChunkBytes)
      : saved(chunk_bytes, device), scratch(chunk_bytes, device) {}
  tensor::Arena saved, scratch;
  void restart() {  // before a pass: frees what the last pass kept
    saved.release({});
    scratch.release({});
  }
};

struct ReadOptions {
  // Per sequence, how many of its `length` tokens are real (0 … length); the rest is padding, whose
  // outputs are meaningless. Empty: all are real.
  std::span<const std::int64_t> lengths = {};
  // The position of every token in its document; 0 starts a document. Empty: positions continue
  // from the state.
  std::span<const std::int32_t> positions = {};
};

// Thread-compatible: one pass at a time per Workspace. Not movable (layers refer to the
// configuration). With several ranks, every call that runs a pass is collective over the tensor
// ranks of the parallel context, and loss() over its context ranks too.
class Griffin {
 public:
  explicit Griffin(const GriffinConfig& config, const ParallelContext& share = {});
  Griffin(const Griffin&) = delete;
  Griffin& operator=(const Griffin&) = delete;

  const GriffinConfig& config() const { return config_; }
  const ParallelContext& parallel_context() const { return parallel_context_; }
  // Activation recomputation: training keeps only the input of every block, and runs the block
  // again before its backward pass. The same bits, for a third more computation (Chen et al. 2016).
  void set_recompute(bool recompute) { recompute_ = recompute; }

  // embedder, blocks.0 …, final_norm, with this tensor rank's slices of the parameters.
  const std::vector<parallel::Unit>& units() const { return units_; }

  // Returns Σ weight · nll over the batch, in nats. The overload with a sink also computes the
  // gradient of gradient_scale · Σ weight · nll. With context ranks, every rank passes the whole
  // batch, positions included; loss and gradient are then partial sums over this rank's piece, and
  // `nll` is of this piece.
  double loss(const Parameters& parameters, const BatchView& batch, Workspace& workspace,
              std::vector<float>* nll = nullptr) const;
  double loss(const Parameters& parameters, const BatchView& batch, Workspace& workspace,
              float gradient_scale, GradientSink& sink) const;

  // Reads sequences · length tokens (n) into `state`. Returns the output of the final norm (n, D)
  // in compute dtype; it lives in workspace.saved, which the next pass empties.
  tensor::Tensor read(const Parameters& parameters, std::span<const std::int32_t> tokens,
                      std::int64_t length, State& state, Workspace& workspace,
                      const ReadOptions& options = {}) const;
  // The same for the next token of each sequence, at memory speed. A sequence's bits do not depend
  // on the other sequences in the state.
  tensor::Tensor step(const Parameters& parameters, std::span<const std::int32_t> tokens,
                      State& state, Workspace& workspace) const;

  // Writes logits (rows of hidden, vocabulary) fp32 to `out`, with the soft cap if `capped`.
  // `decode`: for the few rows that step() returns.
  void logits(const Parameters& parameters, const tensor::Tensor& hidden, const tensor::Tensor& out,
              bool capped = true, bool decode = false) const;

  // The configuration to create a State with: rnn_width counts this tensor rank's channels only.
  const GriffinConfig& state_config() const { return state_config_; }

 private:
  struct Block;
  struct BlockActivations;  // what one block saves
  struct Stream;            // the residual stream, and a delta still to be added
  void forward_block(std::size_t i, Stream& stream, Pass& pass, BlockActivations& activations,
                     bool keeps) const;
  Pass begin_pass(const Parameters& parameters, std::int64_t sequences, std::int64_t length,
                  const tensor::Tensor& positions, State* state, Workspace& workspace) const;
  BatchView own_piece(const BatchView& batch, Workspace& workspace) const;
  void set_attention_bounds(Pass& pass, const tensor::Tensor& positions, std::int64_t begin) const;
  // Conversions between the residual stream, which tensor ranks may split along the sequence, and
  // the blocks, which read all rows and write partial sums.
  std::int64_t stream_rows(const Pass& pass) const;
  tensor::Tensor to_block(const tensor::Tensor& own, Pass& pass) const;
  tensor::Tensor block_output(const tensor::Tensor& own, Pass& pass) const;
  void from_block(const tensor::Tensor& partial_sums, const tensor::Tensor& own, Pass& pass,
                  tensor::DType comm_dtype) const;
  tensor::Tensor read_pass(Pass& pass, std::span<const std::int32_t> tokens,
                           std::span<const std::int32_t> positions, State& state) const;
  tensor::Tensor run(Pass& pass, const tensor::Tensor& tokens,
                     std::vector<BlockActivations>& block_activations, bool training) const;
  double head(Pass& pass, const tensor::Tensor& hidden, const BatchView& batch,
              float gradient_scale, const tensor::Tensor& dtable, const tensor::Tensor& dhidden,
              std::vector<float>* nll) const;
  void cross_entropy(Pass& pass, const tensor::Tensor& logits, const tensor::Tensor& targets,
                     const tensor::Tensor& weight, const tensor::Tensor& nll,
                     const tensor::Tensor& dlogits, float gradient_scale) const;
  void split_logits(const Parameters& parameters, const tensor::Tensor& hidden,
                    const tensor::Tensor& out, bool decode) const;
  double run_loss(const Parameters& parameters, const BatchView& batch, Workspace& workspace,
                  float gradient_scale, GradientSink* sink, std::vector<float>* nll) const;

  GriffinConfig config_, state_config_;
  ParallelContext parallel_context_;
  LocalDims dims_;
  bool recompute_ = false;
  std::vector<parallel::Unit> units_;
  std::vector<std::shared_ptr<const Block>> blocks_;
};

}  // namespace eyrie::model
