// Vectors of AVX-512 and their sums, for the files of dot products. Only where the compiler's
// target is x86.
#pragma once

#include <cstdint>

#include "tensor/dtype.h"

#include <immintrin.h>

// The compiler's own header leaves vectors uninitialised on purpose.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#define EYRIE_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16")))

namespace eyrie::tensor::cpu::avx512 {

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

// Lanes are added as ((0 + 2) + (1 + 3)) in each quarter, and quarters as ((0 + 1) + (2 + 3)), here
// and in reduce_sixteen() alike.
EYRIE_AVX512 inline float reduce(__m512 v) {
  v = _mm512_add_ps(v, _mm512_permute_ps(v, 0x4e));
  v = _mm512_add_ps(v, _mm512_permute_ps(v, 0xb1));
  v = _mm512_add_ps(v, _mm512_shuffle_f32x4(v, v, 0xb1));
  v = _mm512_add_ps(v, _mm512_shuffle_f32x4(v, v, 0x4e));
  return _mm512_cvtss_f32(v);
}

// Reduces sixteen vectors at once: out[i] is the sum of v[i]'s lanes.
EYRIE_AVX512 inline void reduce_sixteen(__m512* v, float* out) {
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

// sums[m · kColumns + n] → out[m · out_stride + n].
template <int kRows, int kColumns>
EYRIE_AVX512 inline void reduce_all(__m512* sums, float* out, std::int64_t out_stride) {
  alignas(64) float reduced[kRows * kColumns];
  if constexpr (kRows * kColumns == 16) {
    reduce_sixteen(sums, reduced);
  } else {
    for (int i = 0; i < kRows * kColumns; ++i) reduced[i] = reduce(sums[i]);
  }
  for (int m = 0; m < kRows; ++m)
    for (int n = 0; n < kColumns; ++n) out[m * out_stride + n] = reduced[m * kColumns + n];
}

}  // namespace eyrie::tensor::cpu::avx512
