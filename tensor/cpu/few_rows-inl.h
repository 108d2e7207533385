// The two kernels behind few_rows and attention_step: dot products with the rows of a matrix, and
// sums of its rows. Included once per SIMD target.
#if defined(EYRIE_TENSOR_CPU_FEW_ROWS_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef EYRIE_TENSOR_CPU_FEW_ROWS_INL_H
#undef EYRIE_TENSOR_CPU_FEW_ROWS_INL_H
#else
#define EYRIE_TENSOR_CPU_FEW_ROWS_INL_H
#endif

#include <cstdint>

#include "tensor/cpu/row_count.h"
#include "tensor/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace eyrie::tensor::cpu {
namespace HWY_NAMESPACE {

// sums[m · kN + n] = x[m] · w[n] over k elements. Each sum runs in one vector accumulator from k =
// 0 on, so that its bits depend on nothing else. x (kM, k) fp32 has the stride x_stride, w (kN, k)
// w_stride.
template <int kM, int kN, class T>
HWY_INLINE void dots(const float* x, std::int64_t x_stride, const T* w, std::int64_t w_stride,
                     std::int64_t k, float* sums) {
  V total[kM * kN];
  for (V& t : total) t = set(0.0f);
  // The processor prefetches a single row as one stream. It does not recognise several rows as a
  // stream, so the next ones are prefetched here, in memory order.
  constexpr std::int64_t kLine = 64 / sizeof(T);
  const T* next = w + kN * w_stride;
  std::int64_t c = 0;
  for (; c + lanes() <= k; c += lanes()) {
    if constexpr (kN > 1) {
      for (std::int64_t line = 0; line < kN * lanes(); line += kLine)
        __builtin_prefetch(next + c * kN + line, 0, 2);
    }
    V weights[kN];
    for (int n = 0; n < kN; ++n) weights[n] = load(w + n * w_stride + c);
    for (int m = 0; m < kM; ++m) {
      const V value = load(x + m * x_stride + c);
      for (int n = 0; n < kN; ++n)
        total[m * kN + n] = hn::MulAdd(value, weights[n], total[m * kN + n]);
    }
  }
  if (c < k) {
    for (int n = 0; n < kN; ++n) {
      const V weight = load(w + n * w_stride + c, k - c);
      for (int m = 0; m < kM; ++m) {
        total[m * kN + n] =
            hn::MulAdd(load(x + m * x_stride + c, k - c), weight, total[m * kN + n]);
      }
    }
  }
  for (int i = 0; i < kM * kN; ++i) sums[i] = sum(total[i]);
}

// Calls put(m, n, x[m] · w[n]) for every n of [0, columns).
template <int kM, int kN, class T, class Put>
HWY_INLINE void dot_block(const float* x, std::int64_t x_stride, const T* w, std::int64_t w_stride,
                          std::int64_t k, std::int64_t columns, Put&& put) {
  float sums[kM * kN];
  std::int64_t n = 0;
  for (; n + kN <= columns; n += kN) {
    dots<kM, kN>(x, x_stride, w + n * w_stride, w_stride, k, sums);
    for (int m = 0; m < kM; ++m)
      for (int i = 0; i < kN; ++i) put(m, n + i, sums[m * kN + i]);
  }
  for (; n < columns; ++n) {
    dots<kM, 1>(x, x_stride, w + n * w_stride, w_stride, k, sums);
    for (int m = 0; m < kM; ++m) put(m, n, sums[m]);
  }
}

// The same for any number of rows of x; later groups of rows reuse w's rows from cache.
template <class T, class Put>
void dot_products(const float* x, std::int64_t rows, std::int64_t x_stride, const T* w,
                  std::int64_t w_stride, std::int64_t k, std::int64_t columns, Put&& put) {
  // Columns are split into pieces that stay in the L2 cache while all rows pass over them.
  const std::int64_t piece =
      rows <= kRowsAtOnce ? columns : std::max<std::int64_t>(8, (std::int64_t{1} << 18) / (4 * k));
  for (std::int64_t n0 = 0; n0 < columns; n0 += piece) {
    const std::int64_t here = std::min(piece, columns - n0);
    for (std::int64_t m0 = 0; m0 < rows; m0 += kRowsAtOnce) {
      const float* from = x + m0 * x_stride;
      const T* weights = w + n0 * w_stride;
      const auto at = [&](int m, std::int64_t n, float value) { put(m0 + m, n0 + n, value); };
      with_row_count(std::min(rows - m0, kRowsAtOnce), [&](auto count) {
        dot_block<count, count == 1 ? 1 : 2>(from, x_stride, weights, w_stride, k, here, at);
      });
    }
  }
}

// The same with weights in int8, whose blocks of `block` columns have a scale each.
template <int kM>
HWY_INLINE void int8_dots(const float* x, std::int64_t x_stride, const std::int8_t* w,
                          const float* scales, std::int64_t block, std::int64_t k, float* sums) {
  V total[kM];
  for (V& t : total) t = set(0.0f);
  for (std::int64_t first = 0; first < k; first += block) {
    const std::int64_t end = std::min(first + block, k), step = lanes();
    V even[kM], odd[kM];  // two sums, so that one addition does not wait for the other
    for (int m = 0; m < kM; ++m) even[m] = odd[m] = set(0.0f);
    std::int64_t c = first;
    for (; c + 2 * step <= end; c += 2 * step) {
      const V low = load(w + c), high = load(w + c + step);
      for (int m = 0; m < kM; ++m) {
        even[m] = hn::MulAdd(load(x + m * x_stride + c), low, even[m]);
        odd[m] = hn::MulAdd(load(x + m * x_stride + c + step), high, odd[m]);
      }
    }
    for (; c < end; c += step) {
      const V weight = load(w + c, end - c);
      for (int m = 0; m < kM; ++m)
        even[m] = hn::MulAdd(load(x + m * x_stride + c, end - c), weight, even[m]);
    }
    const V scale = set(scales[first / block]);
    for (int m = 0; m < kM; ++m) total[m] = hn::MulAdd(hn::Add(even[m], odd[m]), scale, total[m]);
  }
  for (int m = 0; m < kM; ++m) sums[m] = sum(total[m]);
}

template <class Put>
void int8_dot_products(const float* x, std::int64_t rows, std::int64_t x_stride,
                       const std::int8_t* w, std::int64_t w_stride, const float* scales,
                       std::int64_t scales_stride, std::int64_t block, std::int64_t k,
                       std::int64_t columns, Put&& put) {
  // A row of weights stays in the L1 cache while all rows of x pass over it.
  for (std::int64_t n = 0; n < columns; ++n) {
    for (std::int64_t m0 = 0; m0 < rows; m0 += kRowsAtOnce) {
      with_row_count(std::min(rows - m0, kRowsAtOnce), [&](auto count) {
        float sums[kRowsAtOnce];
        int8_dots<count>(x + m0 * x_stride, x_stride, w + n * w_stride, scales + n * scales_stride,
                         block, k, sums);
        for (int m = 0; m < count; ++m) put(m0 + m, n, sums[m]);
      });
    }
  }
}

// Calls put(m, c, vector, part) with vectors of x (rows, k) · w (k, columns); w has the stride
// w_stride. Each element is summed in the order of k.
template <int kM, int kVectors, class T, class Put>
HWY_INLINE void sum_block(const float* x, std::int64_t x_stride, const T* w, std::int64_t w_stride,
                          std::int64_t k, std::int64_t c, std::int64_t part, Put&& put) {
  V total[kM * kVectors];
  for (V& t : total) t = set(0.0f);
  for (std::int64_t i = 0; i < k; ++i) {
    V weights[kVectors];
    for (int v = 0; v < kVectors; ++v) {
      const T* at = w + i * w_stride + c + v * lanes();
      weights[v] = kVectors == 1 ? load(at, part) : load(at);
    }
    for (int m = 0; m < kM; ++m) {
      const V value = set(x[m * x_stride + i]);
      for (int v = 0; v < kVectors; ++v)
        total[m * kVectors + v] = hn::MulAdd(value, weights[v], total[m * kVectors + v]);
    }
  }
  for (int m = 0; m < kM; ++m) {
    for (int v = 0; v < kVectors; ++v)
      put(m, c + v * lanes(), total[m * kVectors + v], kVectors == 1 ? part : lanes());
  }
}

template <int kM, class T, class Put>
HWY_INLINE void sum_columns(const float* x, std::int64_t x_stride, const T* w,
                            std::int64_t w_stride, std::int64_t k, std::int64_t columns,
                            Put&& put) {
  constexpr int kVectors = kM <= 4 ? 4 : 2;
  std::int64_t c = 0;
  for (; c + kVectors * lanes() <= columns; c += kVectors * lanes())
    sum_block<kM, kVectors>(x, x_stride, w, w_stride, k, c, 0, put);
  for (; c < columns; c += lanes())
    sum_block<kM, 1>(x, x_stride, w, w_stride, k, c, columns - c, put);
}

template <class T, class Put>
void row_sums(const float* x, std::int64_t rows, std::int64_t x_stride, const T* w,
              std::int64_t w_stride, std::int64_t k, std::int64_t columns, Put&& put) {
  for (std::int64_t m0 = 0; m0 < rows; m0 += kRowsAtOnce) {
    const float* from = x + m0 * x_stride;
    const auto at = [&](int m, std::int64_t c, V value, std::int64_t part) {
      put(m0 + m, c, value, part);
    };
    with_row_count(std::min(rows - m0, kRowsAtOnce), [&](auto count) {
      sum_columns<count>(from, x_stride, w, w_stride, k, columns, at);
    });
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace eyrie::tensor::cpu
HWY_AFTER_NAMESPACE();
#endif
