// Dot products with AVX-512; empty if the compiler's target is not x86.
#include "tensor/cpu/avx512_dots.h"

#include <algorithm>

#include "tensor/cpu/row_count.h"

#if defined(__x86_64__)
#include <immintrin.h>

// The compiler's own header leaves vectors uninitialised on purpose.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#define EYRIE_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16")))
#endif

namespace eyrie::tensor::cpu {

#if defined(__x86_64__)
namespace {

struct Fp32 {
  using Element = float;
  static constexpr std::int64_t kLanes = 16;
  using Vector = __m512;
  EYRIE_AVX512 static Vector load(const float* p) { return _mm512_loadu_ps(p); }
  EYRIE_AVX512 static Vector load(const float* p, std::int64_t count) {
    return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << count) - 1), p);
  }
  EYRIE_AVX512 static __m512 add(__m512 sum, Vector x, Vector y) {
    return _mm512_fmadd_ps(x, y, sum);
  }
};

struct Bf16 {
  using Element = BFloat16;
  static constexpr std::int64_t kLanes = 32;
  using Vector = __m512bh;
  EYRIE_AVX512 static Vector load(const BFloat16* p) {
    return reinterpret_cast<Vector>(_mm512_loadu_si512(p));
  }
  EYRIE_AVX512 static Vector load(const BFloat16* p, std::int64_t count) {
    return reinterpret_cast<Vector>(_mm512_maskz_loadu_epi16((__mmask32{1} << count) - 1, p));
  }
  EYRIE_AVX512 static __m512 add(__m512 sum, Vector x, Vector y) {
    return _mm512_dpbf16_ps(sum, x, y);
  }
};

// Weights in int8 beside activations in bf16, which holds every weight exactly.
EYRIE_AVX512 Bf16::Vector bf16_of(__m128i low, __m128i high) {
  return _mm512_cvtne2ps_pbh(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(high)),
                             _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(low)));
}
EYRIE_AVX512 Bf16::Vector load_int8(const std::int8_t* p) {
  return bf16_of(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)),
                 _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 16)));
}
EYRIE_AVX512 Bf16::Vector load_int8(const std::int8_t* p, std::int64_t count) {
  const __m256i part = _mm256_maskz_loadu_epi8((__mmask32{1} << count) - 1, p);
  return bf16_of(_mm256_castsi256_si128(part), _mm256_extracti128_si256(part, 1));
}

// Lanes are added as ((0 + 2) + (1 + 3)) in each quarter, and quarters as ((0 + 1) + (2 + 3)), here
// and in reduce_sixteen() alike.
EYRIE_AVX512 float reduce(__m512 v) {
  v = _mm512_add_ps(v, _mm512_permute_ps(v, 0x4e));
  v = _mm512_add_ps(v, _mm512_permute_ps(v, 0xb1));
  v = _mm512_add_ps(v, _mm512_shuffle_f32x4(v, v, 0xb1));
  v = _mm512_add_ps(v, _mm512_shuffle_f32x4(v, v, 0x4e));
  return _mm512_cvtss_f32(v);
}

// Reduces sixteen vectors at once: out[i] is the sum of v[i]'s lanes.
EYRIE_AVX512 void reduce_sixteen(__m512* v, float* out) {
  __m512 pairs[8], fours[4], eights[2];
  for (int i = 0; i < 8; ++i) {
    pairs[i] = _mm512_add_ps(_mm512_unpacklo_ps(v[2 * i], v[2 * i + 1]),
                             _mm512_unpackhi_ps(v[2 * i], v[2 * i + 1]));
  }
  for (int i = 0; i < 4; ++i) {
    const __m512d a = _mm512_castps_pd(pairs[2 * i]), b = _mm512_castps_pd(pairs[2 * i + 1]);
    fours[i] = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(a, b)),
                             _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)));
  }
  for (int i = 0; i < 2; ++i) {
    eights[i] = _mm512_add_ps(_mm512_shuffle_f32x4(fours[2 * i], fours[2 * i + 1], 0x88),
                              _mm512_shuffle_f32x4(fours[2 * i], fours[2 * i + 1], 0xdd));
  }
  _mm512_storeu_ps(out, _mm512_add_ps(_mm512_shuffle_f32x4(eights[0], eights[1], 0x88),
                                      _mm512_shuffle_f32x4(eights[0], eights[1], 0xdd)));
}

template <class Type, int kRows, int kColumns>
EYRIE_AVX512 void dots(const typename Type::Element* x, std::int64_t x_stride,
                       const typename Type::Element* w, std::int64_t w_stride, std::int64_t k,
                       float* out, std::int64_t out_stride) {
  constexpr std::int64_t kLine = 64 / sizeof(typename Type::Element), kAhead = 128 * kLine;
  __m512 total[kRows * kColumns];
  for (__m512& t : total) t = _mm512_setzero_ps();
  // Prefetches as in few_rows-inl.h, and far enough ahead for short rows.
  const typename Type::Element* next = w + std::max(kColumns * w_stride, kAhead);
  std::int64_t c = 0;
  for (; c + Type::kLanes <= k; c += Type::kLanes) {
    typename Type::Vector weights[kColumns];
    for (int n = 0; n < kColumns; ++n) {
      if (kColumns > 1) __builtin_prefetch(next + c * kColumns + n * kLine, 0, 2);
      weights[n] = Type::load(w + n * w_stride + c);
    }
    for (int m = 0; m < kRows; ++m) {
      const typename Type::Vector value = Type::load(x + m * x_stride + c);
      for (int n = 0; n < kColumns; ++n)
        total[m * kColumns + n] = Type::add(total[m * kColumns + n], value, weights[n]);
    }
  }
  if (c < k) {
    for (int n = 0; n < kColumns; ++n) {
      const typename Type::Vector weight = Type::load(w + n * w_stride + c, k - c);
      for (int m = 0; m < kRows; ++m) {
        total[m * kColumns + n] =
            Type::add(total[m * kColumns + n], Type::load(x + m * x_stride + c, k - c), weight);
      }
    }
  }
  if constexpr (kRows * kColumns == 16) {
    alignas(64) float sums[16];
    reduce_sixteen(total, sums);
    for (int m = 0; m < kRows; ++m)
      for (int n = 0; n < kColumns; ++n) out[m * out_stride + n] = sums[m * kColumns + n];
  } else {
    for (int m = 0; m < kRows; ++m)
      for (int n = 0; n < kColumns; ++n) out[m * out_stride + n] = reduce(total[m * kColumns + n]);
  }
}

template <class Type, int kRows>
void block(const typename Type::Element* x, std::int64_t x_stride, const typename Type::Element* w,
           std::int64_t w_stride, std::int64_t k, std::int64_t columns, float* out,
           std::int64_t out_stride) {
  constexpr int kColumns = kRows == 1 ? 1 : 2;
  std::int64_t n = 0;
  for (; n + kColumns <= columns; n += kColumns)
    dots<Type, kRows, kColumns>(x, x_stride, w + n * w_stride, w_stride, k, out + n, out_stride);
  for (; n < columns; ++n)
    dots<Type, kRows, 1>(x, x_stride, w + n * w_stride, w_stride, k, out + n, out_stride);
}

// Adds the products of k elements to sums[m · kColumns + n].
template <int kRows, int kColumns>
EYRIE_AVX512 inline void add_int8(const BFloat16* x, std::int64_t x_stride, const std::int8_t* w,
                                  std::int64_t w_stride, std::int64_t k, __m512* sums) {
  const std::int8_t* next = w + kColumns * w_stride;
  for (std::int64_t c = 0; c < k; c += Bf16::kLanes) {
    const bool whole = c + Bf16::kLanes <= k;
    Bf16::Vector weights[kColumns];
    for (int n = 0; n < kColumns; ++n) {
      __builtin_prefetch(next + n * w_stride + c, 0, 2);
      const std::int8_t* from = w + n * w_stride + c;
      weights[n] = whole ? load_int8(from) : load_int8(from, k - c);
    }
    for (int m = 0; m < kRows; ++m) {
      const BFloat16* from = x + m * x_stride + c;
      const Bf16::Vector value = whole ? Bf16::load(from) : Bf16::load(from, k - c);
      for (int n = 0; n < kColumns; ++n)
        sums[m * kColumns + n] = Bf16::add(sums[m * kColumns + n], value, weights[n]);
    }
  }
}

// out[m · out_stride + n] for kColumns rows of int8 weights with one scale each.
template <int kRows, int kColumns>
EYRIE_AVX512 void int8_dots(const BFloat16* x, std::int64_t x_stride, const std::int8_t* w,
                            std::int64_t w_stride, const float* scales, std::int64_t k, float* out,
                            std::int64_t out_stride) {
  __m512 total[kRows * kColumns];
  for (__m512& t : total) t = _mm512_setzero_ps();
  add_int8<kRows, kColumns>(x, x_stride, w, w_stride, k, total);
  alignas(64) float sums[kRows * kColumns];
  if constexpr (kRows * kColumns == 16) {
    reduce_sixteen(total, sums);
  } else {
    for (int i = 0; i < kRows * kColumns; ++i) sums[i] = reduce(total[i]);
  }
  for (int m = 0; m < kRows; ++m)
    for (int n = 0; n < kColumns; ++n) out[m * out_stride + n] = sums[m * kColumns + n] * scales[n];
}

// The same for one row of weights with a scale per block.
template <int kRows>
EYRIE_AVX512 void int8_block_dots(const BFloat16* x, std::int64_t x_stride, const std::int8_t* w,
                                  const float* scales, std::int64_t block, std::int64_t k,
                                  float* out, std::int64_t out_stride) {
  __m512 total[kRows];
  for (__m512& t : total) t = _mm512_setzero_ps();
  for (std::int64_t c = 0; c < k; c += block) {
    __m512 part[kRows];
    for (__m512& t : part) t = _mm512_setzero_ps();
    add_int8<kRows, 1>(x + c, x_stride, w + c, k, std::min(block, k - c), part);
    const __m512 scale = _mm512_set1_ps(scales[c / block]);
    for (int m = 0; m < kRows; ++m) total[m] = _mm512_fmadd_ps(part[m], scale, total[m]);
  }
  for (int m = 0; m < kRows; ++m) out[m * out_stride] = reduce(total[m]);
}

template <class Type>
void all(const typename Type::Element* x, std::int64_t rows, std::int64_t x_stride,
         const typename Type::Element* w, std::int64_t w_stride, std::int64_t k,
         std::int64_t columns, float* out, std::int64_t out_stride) {
  for (std::int64_t m = 0; m < rows; m += kRowsAtOnce) {
    const auto* from = x + m * x_stride;
    float* to = out + m * out_stride;
    with_row_count(std::min(rows - m, kRowsAtOnce), [&](auto count) {
      block<Type, count>(from, x_stride, w, w_stride, k, columns, to, out_stride);
    });
  }
}

}  // namespace

namespace {

bool has_avx512() {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl");
}

}  // namespace

void avx512_int8_dots(const BFloat16* x, std::int64_t rows, std::int64_t x_stride,
                      const std::int8_t* w, std::int64_t w_stride, const float* scales,
                      std::int64_t blocks, std::int64_t block, std::int64_t k, std::int64_t columns,
                      float* out, std::int64_t out_stride) {
  for (std::int64_t m = 0; m < rows; m += kRowsAtOnce) {
    with_row_count(std::min(rows - m, kRowsAtOnce), [&](auto count) {
      constexpr int kColumns = count == 1 ? 4 : 2;
      const BFloat16* from = x + m * x_stride;
      float* to = out + m * out_stride;
      std::int64_t n = 0;
      for (; blocks == 1 && n + kColumns <= columns; n += kColumns)
        int8_dots<count, kColumns>(from, x_stride, w + n * w_stride, w_stride, scales + n, k,
                                   to + n, out_stride);
      for (; blocks == 1 && n < columns; ++n)
        int8_dots<count, 1>(from, x_stride, w + n * w_stride, w_stride, scales + n, k, to + n,
                            out_stride);
      for (; n < columns; ++n) {
        int8_block_dots<count>(from, x_stride, w + n * w_stride, scales + n * blocks, block, k,
                               to + n, out_stride);
      }
    });
  }
}

const bool kHasAvx512Bf16 = has_avx512() && __builtin_cpu_supports("avx512bf16");

bool has_avx512_dots(DType dtype) {
  static const bool fp32 = has_avx512();
  return dtype == DType::kFloat32 ? fp32 : kHasAvx512Bf16;
}

void avx512_dots(const float* x, std::int64_t rows, std::int64_t x_stride, const float* w,
                 std::int64_t w_stride, std::int64_t k, std::int64_t columns, float* out,
                 std::int64_t out_stride) {
  all<Fp32>(x, rows, x_stride, w, w_stride, k, columns, out, out_stride);
}
void avx512_dots(const BFloat16* x, std::int64_t rows, std::int64_t x_stride, const BFloat16* w,
                 std::int64_t w_stride, std::int64_t k, std::int64_t columns, float* out,
                 std::int64_t out_stride) {
  all<Bf16>(x, rows, x_stride, w, w_stride, k, columns, out, out_stride);
}

#else

const bool kHasAvx512Bf16 = false;
void avx512_int8_dots(const BFloat16*, std::int64_t, std::int64_t, const std::int8_t*, std::int64_t,
                      const float*, std::int64_t, std::int64_t, std::int64_t, std::int64_t, float*,
                      std::int64_t) {}
bool has_avx512_dots(DType) { return false; }
void avx512_dots(const float*, std::int64_t, std::int64_t, const float*, std::int64_t, std::int64_t,
                 std::int64_t, float*, std::int64_t) {}
void avx512_dots(const BFloat16*, std::int64_t, std::int64_t, const BFloat16*, std::int64_t,
                 std::int64_t, std::int64_t, float*, std::int64_t) {}

#endif

}  // namespace eyrie::tensor::cpu
