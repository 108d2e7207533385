// Dot products with AVX-512; empty if the compiler's target is not x86.
#include <algorithm>

#include "tensor/cpu/avx512_dots.h"
#include "tensor/cpu/row_count.h"

#if defined(__x86_64__)
#include "tensor/cpu/avx512-inl.h"
#endif

namespace eyrie::tensor::cpu {

#if defined(__x86_64__)
namespace {

using namespace avx512;

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
  reduce_all<kRows, kColumns>(total, out, out_stride);
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

bool has_avx512() {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl");
}

}  // namespace

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
bool has_avx512_dots(DType) { return false; }
void avx512_dots(const float*, std::int64_t, std::int64_t, const float*, std::int64_t, std::int64_t,
                 std::int64_t, float*, std::int64_t) {}
void avx512_dots(const BFloat16*, std::int64_t, std::int64_t, const BFloat16*, std::int64_t,
                 std::int64_t, std::int64_t, float*, std::int64_t) {}

#endif

}  // namespace eyrie::tensor::cpu
