// The language-model head: logits from the output of the final norm, by the embedding's table, and
// their loss. Logits exist for some rows at a time, never for a whole batch in training. Tensor
// ranks have the logits of their own slice of the vocabulary; calls are collective over them.
#pragma once

#include <algorithm>
#include <cstdint>

#include "model/forward_pass.h"
#include "model/tensor_parallel.h"

namespace eyrie::model {

// How many rows of logits exist at a time in training: about 8 million numbers, but enough rows
// that the matrix products of a large vocabulary are not memory-bound (each chunk adds to the
// gradient of the whole table).
constexpr std::int64_t logit_rows(std::int64_t vocabulary) {
  return std::clamp<std::int64_t>((std::int64_t{8} << 20) / vocabulary, 128, 512);
}

class LmHead {
 public:
  // All must outlive it.
  LmHead(const GriffinConfig& config, const ParallelContext& context, const LocalDims& dims)
      : config_(config), context_(context), dims_(dims), tensor_parallel_(context) {}

  // Writes logits (rows of hidden, vocabulary) fp32 to `out`, with the soft cap if `capped`.
  // `decode`: for the few rows that Griffin::decode_step() returns.
  void logits(const Parameters& parameters, const tensor::Tensor& hidden, const tensor::Tensor& out,
              bool capped = true, bool decode = false) const;

  // What is to be predicted at each position: targets int32 and weights fp32, each (1, tokens of
  // the whole batch), on any device. A position of weight 0 has no target.
  struct Targets {
    tensor::Tensor ids, weights;
  };
  // Returns nll (1, tokens of the pass's piece) fp32: −log p(target) in nats where the weight is
  // not 0, else 0. It lives in the pass's scratch memory.
  tensor::Tensor nll(ForwardPass& forward, const Targets& targets) const;
  // The same, with the gradient of gradient_scale · Σ weight · nll: that of the table (vocabulary
  // slice, D) fp32 in `dtable`, and that of forward.hidden, fp32 of its shape, in `dhidden`. Both
  // are overwritten.
  tensor::Tensor nll(ForwardPass& forward, const Targets& targets, float gradient_scale,
                     const tensor::Tensor& dtable, const tensor::Tensor& dhidden) const;

 private:
  void split_logits(const Parameters& parameters, const tensor::Tensor& hidden,
                    const tensor::Tensor& out, bool decode) const;
  void cross_entropy(Pass& pass, const tensor::Tensor& logits, const Targets& targets,
                     const tensor::Tensor& nll, const tensor::Tensor& dlogits,
                     float gradient_scale) const;
  void run_chunks(ForwardPass& forward, const tensor::Tensor& hidden, const Targets& targets,
                  float gradient_scale, const tensor::Tensor& nll, const tensor::Tensor& dtable,
                  const tensor::Tensor& dhidden) const;

  const GriffinConfig& config_;
  const ParallelContext& context_;
  const LocalDims& dims_;
  TensorParallel tensor_parallel_;
};

}  // namespace eyrie::model
