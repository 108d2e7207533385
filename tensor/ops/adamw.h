// AdamW (Loshchilov and Hutter 2019) on flat fp32 ranges, and the sums for the gradient norm.
#pragma once

#include <cstdint>
#include <span>

namespace eyrie::tensor {

struct AdamWStep {
  float learning_rate, beta1, beta2, epsilon;
  float weight_decay;    // decoupled: parameter -= learning_rate · weight_decay · parameter
  float gradient_scale;  // multiplies the gradient first: clipping
  std::int64_t step;     // from 1, for the bias corrections
};

// parameter, moment1, moment2 are updated in place; all spans have one length. epsilon is outside
// of the root.
void adamw(std::span<float> parameter, std::span<const float> gradient, std::span<float> moment1,
           std::span<float> moment2, const AdamWStep& step);

// Σ x² in fp64, in an order that depends on the length alone: eight interleaved sums, added in
// pairs.
double sum_of_squares(std::span<const float> x);

}  // namespace eyrie::tensor
