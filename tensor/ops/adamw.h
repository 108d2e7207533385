// AdamW (Loshchilov and Hutter 2019) on flat fp32 ranges, and the sums for the gradient norm.
#pragma once

#include <cstdint>
#include <span>

namespace eyrie::tensor {

struct AdamWStep {
  float learning_rate, beta1, beta2, epsilon;
  float weight_decay;    // decoupled: parameter -= learning_rate · weight_decay · parameter
  float gradient_scale;  // multiplies the gradient first, for clipping
  std::int64_t step;     // counts from 1, for the bias corrections
};

// Updates parameter, moment1 and moment2 in place. All spans have the same length. epsilon is added
// outside the root.
void adamw(std::span<float> parameter, std::span<const float> gradient, std::span<float> moment1,
           std::span<float> moment2, const AdamWStep& step);

// Returns Σ x² in fp64. The order depends only on the length: eight interleaved sums, added in
// pairs.
double sum_of_squares(std::span<const float> x);

}  // namespace eyrie::tensor
