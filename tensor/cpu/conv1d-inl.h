// What the convolution's kernels share: which rows count for which, and blocks of time. Included
// once per SIMD target.
#if defined(EYRIE_TENSOR_CPU_CONV1D_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef EYRIE_TENSOR_CPU_CONV1D_INL_H
#undef EYRIE_TENSOR_CPU_CONV1D_INL_H
#else
#define EYRIE_TENSOR_CPU_CONV1D_INL_H
#endif

#include <algorithm>
#include <cstdint>

#include "tensor/cpu/simd-inl.h"
#include "tensor/ops/conv1d.h"
#include "tensor/threads.h"

HWY_BEFORE_NAMESPACE();
namespace eyrie::tensor::cpu {
namespace HWY_NAMESPACE {

constexpr int kKept = kConvWidth - 1;
// Rows that are computed together, so that each is read and widened about twice instead of four
// times.
constexpr int kTogether = 4;

// Blocks of this many tokens are shared out among the threads. Sums over time are made per block,
// and the blocks' sums are added in order.
constexpr std::int64_t kBlockRows = 256;

// Rows that count for one row, nearest first: `count` of them, the others are null.
template <class T>
struct Rows {
  const T* at[kConvWidth] = {};
  int count = 0;
  void add(const T* row) { at[count++] = row; }
};

// What all rows of one sequence share.
template <class T>
struct Sequence {
  const std::int32_t* position;  // of its first token
  const T *x, *past;             // its first row; the kKept rows before it, or null
  std::int64_t channels, length;

  // x[t], x[t − 1], … as far as t's document goes back.
  Rows<T> inputs(std::int64_t t) const {
    Rows<T> rows;
    for (std::int64_t s = 0; s < kConvWidth && s <= position[t] && (past || s <= t); ++s)
      rows.add(t >= s ? x + (t - s) * channels : past + (kKept + t - s) * channels);
    return rows;
  }

  // Whether the rows from t − kKept to `last` are all here and of one document.
  bool one_document(std::int64_t t, std::int64_t last) const {
    return t >= kKept && last < length && position[t] >= kKept &&
           position[last] - position[t] == last - t;
  }
};

// Calls body(sequence, block, first, last) for all blocks of all sequences, on all threads.
template <class Body>
void for_blocks(std::int64_t sequences, std::int64_t length, const Body& body) {
  const std::int64_t blocks = (length + kBlockRows - 1) / kBlockRows;
  parallel_for(sequences * blocks, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t first = i % blocks * kBlockRows;
      body(i / blocks, i % blocks, first, std::min(first + kBlockRows, length));
    }
  });
}

inline std::int64_t length_of(const Tensor& x, std::int64_t sequences) {
  return x.rows() / std::max<std::int64_t>(sequences, 1);
}

}  // namespace HWY_NAMESPACE
}  // namespace eyrie::tensor::cpu
HWY_AFTER_NAMESPACE();
#endif
