// Griffin: the whole model. Training runs forward() and backward(), with a loss between them;
// inference reads tokens into a State. Both use the same forward pass.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "model/forward_pass.h"
#include "model/lm_head.h"
#include "model/recompute.h"

namespace eyrie::model {

// Any batch: `sequences` rows of `length` tokens. The tensors are int32 (1, sequences · length), on
// any device. The caller owns the memory.
struct TokenBatch {
  std::int64_t sequences, length;
  tensor::Tensor tokens;     // in [0, vocabulary)
  tensor::Tensor positions;  // position in the token's document; 0 starts a document
};

// Receives the gradients of one micro-shard. For each unit, gradient() is called to get the buffer
// to write (the same one until it is complete), and finished() once when it is complete, in this
// order: final norm, last block … first block, embedding. Buffers are (1, unit.size) fp32; gaps
// between parameters are not written (keep them zero).
class GradientSink {
 public:
  virtual ~GradientSink() = default;
  virtual tensor::Tensor gradient(std::size_t unit) = 0;
  virtual void finished(std::size_t unit) = 0;
};

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

struct PrefillOptions {
  // Each sequence's number of tokens, if they differ; their rows follow each other without gaps.
  // Empty: all have `length`.
  std::span<const std::int64_t> lengths = {};
  // The position of every token in its document; 0 starts a document. Empty: positions continue
  // from the state.
  std::span<const std::int32_t> positions = {};
};

// Thread-compatible: one pass at a time per Workspace. Not movable (layers refer to the
// configuration). With several ranks, every call that runs a pass is collective over the tensor
// ranks of the parallel context, and forward() and backward() over its context ranks too.
class Griffin {
 public:
  explicit Griffin(const GriffinConfig& config, const ParallelContext& context = {});
  Griffin(const Griffin&) = delete;
  Griffin& operator=(const Griffin&) = delete;

  const GriffinConfig& config() const { return config_; }
  const ParallelContext& parallel_context() const { return parallel_context_; }
  void set_recompute(Recompute recompute) { recompute_ = recompute; }

  // embedder, blocks.0 …, final_norm, with this tensor rank's slices of the parameters.
  const std::vector<parallel::Unit>& units() const { return units_; }
  const LmHead& lm_head() const { return lm_head_; }

  // Runs a batch, and with `keeps` keeps what backward() needs. With context ranks, every rank
  // passes the whole batch, positions included, and runs its own piece of every sequence.
  ForwardPass forward(const Parameters& parameters, const TokenBatch& batch, Workspace& workspace,
                      bool keeps) const;
  // Memory for the gradient of forward.hidden, fp32 of its shape, in scratch.
  tensor::Tensor hidden_gradient(ForwardPass& forward) const;
  // From the gradient of forward.hidden (fp32, overwritten) computes those of all parameters, as
  // partial sums over this rank's piece. The embedding's is added to what sink.gradient(0) holds:
  // the gradient of the head, or zeros.
  void backward(ForwardPass& forward, const tensor::Tensor& dhidden, GradientSink& sink) const;
  // The embedding's table in its gradient (1, unit.size): (vocabulary slice, D).
  tensor::Tensor table_in(const tensor::Tensor& embedding_gradient) const {
    return parameter_in(units_[0].parameters[0], embedding_gradient);
  }

  // Reads sequences · length tokens (n) into `state`. Returns the output of the final norm (n, D)
  // in compute dtype; it lives in workspace.saved, which the next pass empties.
  tensor::Tensor prefill(const Parameters& parameters, std::span<const std::int32_t> tokens,
                         std::int64_t length, State& state, Workspace& workspace,
                         const PrefillOptions& options = {}) const;
  // The same for the next token of each sequence, at memory speed. A sequence's bits do not depend
  // on the other sequences in the state.
  tensor::Tensor decode_step(const Parameters& parameters, std::span<const std::int32_t> tokens,
                             State& state, Workspace& workspace) const;

  // The configuration to create a State with: rnn_width counts this tensor rank's channels only.
  const GriffinConfig& state_config() const { return state_config_; }

 private:
  Pass begin_pass(const Parameters& parameters, std::int64_t sequences, std::int64_t length,
                  const tensor::Tensor& positions, State* state, Workspace& workspace,
                  std::vector<std::int64_t> starts = {}) const;
  void set_attention_bounds(Pass& pass, const tensor::Tensor& positions, std::int64_t begin) const;
  tensor::Tensor inference_pass(Pass& pass, std::span<const std::int32_t> tokens,
                                std::span<const std::int32_t> positions, State& state) const;
  void run(ForwardPass& forward, bool keeps) const;
  ResidualStream embedded(const ForwardPass& forward, Pass& pass, bool spare) const;

  GriffinConfig config_, state_config_;
  ParallelContext parallel_context_;
  LocalDims dims_;
  TensorParallel tensor_parallel_;
  LmHead lm_head_;
  Recompute recompute_ = Recompute::kNone;
  std::vector<parallel::Unit> units_;
  std::vector<ResidualBlock> blocks_;
};

}  // namespace eyrie::model
