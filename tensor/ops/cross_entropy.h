// The output layer's loss: soft cap, log-softmax and cross-entropy over a chunk of logits.
#pragma once

#include "tensor/tensor.h"

namespace eyrie::tensor {

// logits (n, V) fp32, before the soft cap (cap 0: no cap); targets int32 (1, n); weight (1, n) fp32
// is the loss mask. nll (1, n) fp32 = −log softmax(capped logits)[target] where the weight is not
// 0, else 0. If dlogits (n, V), fp32 or bf16, is given, it is set to d(Σ weight · nll) / dlogits ·
// gradient_scale; each of its rows may begin where the same row of logits does.
void cross_entropy(const Tensor& logits, const Tensor& targets, const Tensor& weight, float cap,
                   const Tensor& nll, const Tensor& dlogits, float gradient_scale);

// The same for a vocabulary that is split over ranks, in two steps with an exchange of three
// numbers per token in between. This rank's logits (n, V) are those of the tokens [first, first +
// V); targets are ids of the whole vocabulary. Step one caps the logits in place and writes sums
// (n, 3) fp32: a shift, Σ exp(logit − shift), and the target's logit (0 if it is on another rank).
void cross_entropy_sums(const Tensor& logits, const Tensor& targets, std::int64_t first, float cap,
                        const Tensor& sums);
// Step two: all_sums (ranks, 3n) has a row with each rank's sums; `capped` are step one's logits.
void cross_entropy_split(const Tensor& capped, const Tensor& targets, const Tensor& weight,
                         std::int64_t first, float cap, const Tensor& all_sums, const Tensor& nll,
                         const Tensor& dlogits, float gradient_scale);

// For scoring: caps logits (n, V) fp32 in place; log_sum (1, n) fp32 = log Σ exp of each row, so
// that a token's log-likelihood is its capped logit minus log_sum; argmax (1, n) int32, where ties
// go to the lowest id.
void score_logits(const Tensor& logits, float cap, const Tensor& log_sum, const Tensor& argmax);

}  // namespace eyrie::tensor
