// Dot products of a few rows with many, hand-written for AVX-512. Two things that Highway does not
// offer make decoding of several sequences faster by a third or more: sixteen accumulators are
// reduced together, and bf16 is multiplied by the processor's own instruction (AVX-512 BF16: 32
// products at once, summed in fp32).
#pragma once

#include <cstdint>

#include "tensor/dtype.h"

namespace eyrie::tensor::cpu {

bool has_avx512_dots(DType dtype);  // dtype: fp32 or bf16

// Whether the processor has AVX-512 BF16, and with it an instruction that rounds fp32 to bf16. A
// constant, so that loops test it once.
extern const bool kHasAvx512Bf16;

// out[m · out_stride + n] = x[m] · w[n] over k elements, for rows m and columns n. Each sum runs in
// one vector from k = 0 on and is reduced in a fixed order: its bits do not depend on the other
// rows and columns. Requires has_avx512_dots().
void avx512_dots(const float* x, std::int64_t rows, std::int64_t x_stride, const float* w,
                 std::int64_t w_stride, std::int64_t k, std::int64_t columns, float* out,
                 std::int64_t out_stride);
void avx512_dots(const BFloat16* x, std::int64_t rows, std::int64_t x_stride, const BFloat16* w,
                 std::int64_t w_stride, std::int64_t k, std::int64_t columns, float* out,
                 std::int64_t out_stride);

// The same with int8 weights, whose rows have `blocks` scales, one per `block` of the k elements.
// Requires AVX-512 BF16.
void avx512_int8_dots(const BFloat16* x, std::int64_t rows, std::int64_t x_stride,
                      const std::int8_t* w, std::int64_t w_stride, const float* scales,
                      std::int64_t blocks, std::int64_t block, std::int64_t k, std::int64_t columns,
                      float* out, std::int64_t out_stride);

}  // namespace eyrie::tensor::cpu
