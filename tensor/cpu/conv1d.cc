// The depthwise causal convolution. Threads own blocks of time.
#include "tensor/cpu/kernels.h"

#include <algorithm>
#include <type_traits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/conv1d.cc"
#include <hwy/foreach_target.h>
// After foreach_target, which includes this file once per target.
#include "tensor/cpu/conv1d-inl.h"
#include "tensor/cpu/dispatch.h"

HWY_BEFORE_NAMESPACE();
namespace eyrie::tensor::cpu {
namespace HWY_NAMESPACE {
namespace {

// One row of the output.
template <class T>
void output_row(const Rows<T>& inputs, const float* w, const float* b, std::int64_t channels,
                T* y) {
  for_vectors(0, channels, [&](std::int64_t c, auto part) {
    V total = load(b + c, part);
    for (int s = 0; s < inputs.count; ++s) {
      const V tap = load(w + (kKept - s) * channels + c, part);
      total = hn::MulAdd(tap, load(inputs.at[s] + c, part), total);
    }
    store(total, y + c, part);
  });
}

// kTogether rows of the output whose taps all count; x is at the first.
template <class T>
void output_rows(const T* x, const float* w, const float* b, std::int64_t channels, T* y) {
  for_vectors(0, channels, [&](std::int64_t c, auto part) {
    V taps[kConvWidth], in[kKept + kTogether];
    for (int s = 0; s < kConvWidth; ++s) taps[s] = load(w + s * channels + c, part);
    for (int i = 0; i < kKept + kTogether; ++i) in[i] = load(x + (i - kKept) * channels + c, part);
    const V bias = load(b + c, part);
    for (int r = 0; r < kTogether; ++r) {
      V total = bias;
      for (int s = 0; s < kConvWidth; ++s)
        total = hn::MulAdd(taps[kKept - s], in[kKept + r - s], total);
      store(total, y + r * channels + c, part);
    }
  });
}

// Moves a sequence's history on: its last kKept inputs, those of earlier documents zeroed.
template <class T>
void keep_history(const Sequence<T>& q, T* past) {
  for (std::int64_t s = kKept; s > 0; --s) {  // from the oldest: each reads a later row
    const std::int64_t row = q.length - s;
    const T* from = row >= 0 ? q.x + row * q.channels : past + (kKept + row) * q.channels;
    T* const to = past + (kKept - s) * q.channels;
    if (s - 1 <= q.position[q.length - 1]) {
      if (to != from) std::copy_n(from, q.channels, to);
    } else {
      std::fill_n(to, q.channels, T{});
    }
  }
}

void Conv1d(const Tensor& x, const Tensor& w, const Tensor& b, const Tensor& positions,
            std::int64_t sequences, const Tensor& y, const Tensor& history) {
  const std::int64_t channels = x.columns(), length = length_of(x, sequences);
  const auto* position = positions.as<std::int32_t>();
  const float *taps = w.f32(), *bias = b.f32();
  EYRIE_CHECK(x.dtype() == y.dtype() && (!history || history.dtype() == x.dtype()),
              "conv1d: one dtype");
  with_type(x, [&](auto* in) {
    using T = std::remove_pointer_t<decltype(in)>;
    auto* out = static_cast<T*>(y.data());
    auto* histories = static_cast<T*>(history.data());
    const auto sequence_at = [&](std::int64_t q) {
      return Sequence<T>{position + q * length, in + q * length * channels,
                         histories ? histories + q * kKept * channels : nullptr, channels, length};
    };
    for_blocks(sequences, length,
               [&](std::int64_t q, std::int64_t, std::int64_t first, std::int64_t last) {
                 const Sequence<T> sequence = sequence_at(q);
                 T* const to = out + q * length * channels;
                 for (std::int64_t t = first; t < last;) {
                   if (t + kTogether <= last && sequence.one_document(t, t + kTogether - 1)) {
                     output_rows(sequence.x + t * channels, taps, bias, channels,
                                 to + t * channels);
                     t += kTogether;
                   } else {
                     output_row(sequence.inputs(t), taps, bias, channels, to + t * channels);
                     ++t;
                   }
                 }
               });
    for (std::int64_t q = 0; histories && length > 0 && q < sequences; ++q)
      keep_history(sequence_at(q), histories + q * kKept * channels);
  });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace eyrie::tensor::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace eyrie::tensor::cpu {
HWY_EXPORT(Conv1d);
void conv1d(const Tensor& x, const Tensor& w, const Tensor& b, const Tensor& positions,
            std::int64_t sequences, const Tensor& y, const Tensor& history) {
  HWY_DYNAMIC_DISPATCH(Conv1d)(x, w, b, positions, sequences, y, history);
}

}  // namespace eyrie::tensor::cpu
#endif
