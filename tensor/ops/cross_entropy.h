// The output layer's loss: soft cap, log-softmax and cross-entropy over a chunk of logits.
#pragma once

#include "tensor/tensor.h"

namespace eyrie::tensor {

// logits (n, V) fp32, before the soft cap (cap 0: none); targets int32 (1, n); weight (1, n) fp32:
// the loss mask. nll (1, n) fp32 = −log softmax(capped logits)[target], where the weight is not 0;
// 0 elsewhere. With dlogits (n, V) any: d(Σ weight · nll) / dlogits · gradient_scale.
void cross_entropy(const Tensor& logits, const Tensor& targets, const Tensor& weight, float cap,
                   const Tensor& nll, const Tensor& dlogits, float gradient_scale);

// The same where the vocabulary is split over ranks and none has all logits, in two steps with an
// exchange of three numbers a row between. This rank's logits (n, V) are of the tokens [first,
// first + V); targets are of the whole vocabulary. Step one caps the logits in place; sums (n, 3)
// fp32: the largest, Σ exp(logit − largest), and the target's own (0 where it is another rank's).
void cross_entropy_sums(const Tensor& logits, const Tensor& targets, std::int64_t first, float cap,
                        const Tensor& sums);
// Step two: all_sums (ranks, 3n), a row for each rank's sums; capped logits.
void cross_entropy_split(const Tensor& capped, const Tensor& targets, const Tensor& weight,
                         std::int64_t first, float cap, const Tensor& all_sums, const Tensor& nll,
                         const Tensor& dlogits, float gradient_scale);

// For scoring: caps logits (n, V) fp32 in place; log_sum (1, n) fp32 = log Σ exp of a row, so that
// a token's log-likelihood is its capped logit less log_sum; argmax (1, n) int32, ties to the
// lowest id.
void score_logits(const Tensor& logits, float cap, const Tensor& log_sum, const Tensor& argmax);

}  // namespace eyrie::tensor
