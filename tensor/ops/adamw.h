// AdamW (Loshchilov and Hutter 2019) on flat fp32 ranges.
#pragma once

#include <cstdint>

#include "tensor/tensor.h"

namespace eyrie::tensor {

struct AdamWStep {
  float learning_rate, beta1, beta2, epsilon;
  float weight_decay;    // decoupled: parameter -= learning_rate · weight_decay · parameter
  float gradient_scale;  // multiplies the gradient first, for clipping
  std::int64_t step;     // counts from 1, for the bias corrections
};

// Updates parameter, moment1 and moment2 in place. All are fp32 (1, n), without gaps. epsilon is
// added outside the root.
void adamw(const Tensor& parameter, const Tensor& gradient, const Tensor& moment1,
           const Tensor& moment2, const AdamWStep& step);

}  // namespace eyrie::tensor
