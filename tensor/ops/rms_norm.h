// RMSNorm: y = x / √(mean(x²) + 1e-6) · (1 + scale), over the last axis, in fp32.
#pragma once

#include "tensor/tensor.h"

namespace eyrie::tensor {

constexpr float kRmsNormEpsilon = 1e-6f;

// x (n, D) fp32; scale (1, D) fp32; y (n, D) fp32 or bf16; inverse_rms (1, n) fp32, kept for the
// backward pass. With `delta` (n, D) fp32, first computes sum = x + delta (the residual stream),
// then normalises the sum.
void rms_norm(const Tensor& x, const Tensor& scale, const Tensor& y, const Tensor& inverse_rms);
void add_rms_norm(const Tensor& x, const Tensor& delta, const Tensor& sum, const Tensor& scale,
                  const Tensor& y, const Tensor& inverse_rms);

// dx (n, D) fp32 += the gradient of dy (n, D) fp32 through the norm; `rounded` (n, D), if given, is
// set to the sum in its own dtype. dscale (1, D) fp32 = the gradient of scale; rows are added in a
// fixed order.
void rms_norm_backward(const Tensor& dy, const Tensor& x, const Tensor& scale,
                       const Tensor& inverse_rms, const Tensor& dx, const Tensor& dscale,
                       const Tensor& rounded = {});

}  // namespace eyrie::tensor
