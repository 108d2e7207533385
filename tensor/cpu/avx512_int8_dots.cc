// Dot products of int8 weights with AVX-512; empty if the compiler's target is not x86.
#include <algorithm>
#include <type_traits>
#include <vector>

#include "tensor/cpu/avx512_dots.h"
#include "tensor/cpu/row_count.h"

#if defined(__x86_64__)
#include "tensor/cpu/avx512-inl.h"
#endif

namespace eyrie::tensor::cpu {

#if defined(__x86_64__)
namespace {

using namespace avx512;

// Weights in int8 beside activations in bf16, which holds every weight exactly.
EYRIE_AVX512 Bf16::Vector bf16_of(__m128i low, __m128i high) {
  return _mm512_cvtne2ps_pbh(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(high)),
                             _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(low)));
}
EYRIE_AVX512 Bf16::Vector load_weights(const std::int8_t* p) {
  return bf16_of(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)),
                 _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 16)));
}
EYRIE_AVX512 Bf16::Vector load_weights(const std::int8_t* p, std::int64_t count) {
  const __m256i part = _mm256_maskz_loadu_epi8((__mmask32{1} << count) - 1, p);
  return bf16_of(_mm256_castsi256_si128(part), _mm256_extracti128_si256(part, 1));
}
// The same, already widened.
EYRIE_AVX512 Bf16::Vector load_weights(const BFloat16* p) { return Bf16::load(p); }
EYRIE_AVX512 Bf16::Vector load_weights(const BFloat16* p, std::int64_t count) {
  return Bf16::load(p, count);
}
EYRIE_AVX512 void widen(const std::int8_t* from, std::int64_t count, BFloat16* to) {
  std::int64_t c = 0;
  for (; c + Bf16::kLanes <= count; c += Bf16::kLanes)
    _mm512_storeu_si512(to + c, reinterpret_cast<__m512i>(load_weights(from + c)));
  if (c < count) {
    _mm512_mask_storeu_epi16(to + c, (__mmask32{1} << (count - c)) - 1,
                             reinterpret_cast<__m512i>(load_weights(from + c, count - c)));
  }
}

// Sums of the products of k elements: sums[m · kColumns + n].
template <int kRows, int kColumns, class W>
EYRIE_AVX512 inline void sum_products(const BFloat16* x, std::int64_t x_stride, const W* w,
                                      std::int64_t w_stride, std::int64_t k, __m512* sums) {
  const W* next = w + kColumns * w_stride;
  __m512 total[kRows * kColumns];  // stays in registers, which sums would not
  for (__m512& t : total) t = _mm512_setzero_ps();
  std::int64_t c = 0;
  for (; c + Bf16::kLanes <= k; c += Bf16::kLanes) {
    Bf16::Vector weights[kColumns];
    for (int n = 0; n < kColumns; ++n) {
      if constexpr (sizeof(W) == 1) __builtin_prefetch(next + n * w_stride + c, 0, 2);
      weights[n] = load_weights(w + n * w_stride + c);
    }
    for (int m = 0; m < kRows; ++m) {
      const Bf16::Vector value = Bf16::load(x + m * x_stride + c);
      for (int n = 0; n < kColumns; ++n)
        total[m * kColumns + n] = Bf16::add(total[m * kColumns + n], value, weights[n]);
    }
  }
  if (c < k) {
    for (int n = 0; n < kColumns; ++n) {
      const Bf16::Vector weight = load_weights(w + n * w_stride + c, k - c);
      for (int m = 0; m < kRows; ++m) {
        total[m * kColumns + n] =
            Bf16::add(total[m * kColumns + n], Bf16::load(x + m * x_stride + c, k - c), weight);
      }
    }
  }
  for (int i = 0; i < kRows * kColumns; ++i) sums[i] = total[i];
}

// kColumns rows of int8 weights, widened or not, with one scale each.
template <int kRows, int kColumns, class W>
EYRIE_AVX512 void int8_dots(const BFloat16* x, std::int64_t x_stride, const W* w,
                            std::int64_t w_stride, const float* scales, std::int64_t k, float* out,
                            std::int64_t out_stride) {
  __m512 total[kRows * kColumns];
  sum_products<kRows, kColumns>(x, x_stride, w, w_stride, k, total);
  reduce_all<kRows, kColumns>(total, out, out_stride);
  for (int m = 0; m < kRows; ++m)
    for (int n = 0; n < kColumns; ++n) out[m * out_stride + n] *= scales[n];
}

// The same for rows with a scale per block of their elements: `blocks` scales per row.
template <int kRows, int kColumns, class W>
EYRIE_AVX512 void int8_block_dots(const BFloat16* x, std::int64_t x_stride, const W* w,
                                  std::int64_t w_stride, const float* scales, std::int64_t blocks,
                                  std::int64_t block, std::int64_t k, float* out,
                                  std::int64_t out_stride) {
  __m512 all[kRows * kColumns];
  for (int n = 0; n < kColumns; ++n) {
    __m512 total[kRows];
    for (__m512& t : total) t = _mm512_setzero_ps();
    for (std::int64_t c = 0; c < k; c += block) {
      __m512 part[kRows];
      sum_products<kRows, 1>(x + c, x_stride, w + n * w_stride + c, kColumns * w_stride,
                             std::min(block, k - c), part);
      const __m512 scale = _mm512_set1_ps(scales[n * blocks + c / block]);
      for (int m = 0; m < kRows; ++m) total[m] = _mm512_fmadd_ps(part[m], scale, total[m]);
    }
    for (int m = 0; m < kRows; ++m) all[m * kColumns + n] = total[m];
  }
  reduce_all<kRows, kColumns>(all, out, out_stride);
}

// kColumns rows of weights with all rows of x.
template <int kColumns, class W>
void int8_columns(const BFloat16* x, std::int64_t rows, std::int64_t x_stride, const W* w,
                  std::int64_t w_stride, const float* scales, std::int64_t blocks,
                  std::int64_t block, std::int64_t k, float* out, std::int64_t out_stride) {
  for (std::int64_t m = 0; m < rows; m += kRowsAtOnce) {
    const BFloat16* from = x + m * x_stride;
    float* to = out + m * out_stride;
    with_row_count(std::min(rows - m, kRowsAtOnce), [&](auto count) {
      if (blocks == 1) {
        int8_dots<count, kColumns>(from, x_stride, w, w_stride, scales, k, to, out_stride);
      } else {
        int8_block_dots<count, kColumns>(from, x_stride, w, w_stride, scales, blocks, block, k, to,
                                         out_stride);
      }
    });
  }
}

}  // namespace

void avx512_int8_dots(const BFloat16* x, std::int64_t rows, std::int64_t x_stride,
                      const std::int8_t* w, std::int64_t w_stride, const float* scales,
                      std::int64_t blocks, std::int64_t block, std::int64_t k, std::int64_t columns,
                      float* out, std::int64_t out_stride) {
  constexpr int kColumns = 2;
  thread_local std::vector<BFloat16> wide;
  const auto some = [&](auto of_columns, std::int64_t n) {
    const std::int8_t* from = w + n * w_stride;
    if (rows <= kRowsAtOnce) {
      return int8_columns<of_columns>(x, rows, x_stride, from, w_stride, scales + n * blocks,
                                      blocks, block, k, out + n, out_stride);
    }
    // Several groups of rows share the widened weights.
    wide.resize(static_cast<std::size_t>(of_columns * k));
    for (std::int64_t i = 0; i < of_columns; ++i)
      widen(from + i * w_stride, k, wide.data() + i * k);
    int8_columns<of_columns>(x, rows, x_stride, wide.data(), k, scales + n * blocks, blocks, block,
                             k, out + n, out_stride);
  };
  std::int64_t n = 0;
  for (; n + kColumns <= columns; n += kColumns) some(std::integral_constant<int, kColumns>(), n);
  for (; n < columns; ++n) some(std::integral_constant<int, 1>(), n);
}

#else

void avx512_int8_dots(const BFloat16*, std::int64_t, std::int64_t, const std::int8_t*, std::int64_t,
                      const float*, std::int64_t, std::int64_t, std::int64_t, std::int64_t, float*,
                      std::int64_t) {}

#endif

}  // namespace eyrie::tensor::cpu
