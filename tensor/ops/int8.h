// Weights in int8 for inference: w[n][k] ≈ q[n][k] · scales[n][k / block], with one scale for every
// `block` weights of a row (an output of a linear layer, or a token of the embedding). Activations
// stay fp32 or bf16, sums fp32.
#pragma once

#include <cstdint>

#include "tensor/tensor.h"

namespace eyrie::tensor {

// The scales of a matrix of `columns`: one per row, or one per `block` columns.
constexpr std::int64_t int8_scales(std::int64_t columns, std::int64_t block) {
  return (columns + block - 1) / block;
}

// w (N, K) fp32 or bf16 becomes q (N, K) int8 and scales (N, int8_scales(K, block)) fp32: the
// largest weight of a block becomes ±127, the others are rounded to nearest. A block of zeros has
// the scale 0. Not finite weights must have been refused before.
void quantize(const Tensor& w, std::int64_t block, const Tensor& q, const Tensor& scales);

// to (N, K) fp32 or bf16 = q · scales. The block follows from the sizes of both.
void dequantize(const Tensor& q, const Tensor& scales, std::int64_t block, const Tensor& to);

// out (M, N) = x (M, K) · wᵀ [+ bias (1, N) fp32] for any number of rows, x fp32 or bf16: the
// weights are rounded to x's dtype piece by piece. A row's bits do not depend on the other rows.
void matmul_int8(const Tensor& x, const Tensor& q, const Tensor& scales, std::int64_t block,
                 const Tensor& out, const Tensor& bias = {});

}  // namespace eyrie::tensor
