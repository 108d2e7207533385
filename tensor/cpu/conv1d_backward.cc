// The gradients of the convolution. Threads own blocks of time, whose sums are added in order.
#include "tensor/cpu/kernels.h"

#include <algorithm>
#include <type_traits>
#include <vector>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/conv1d_backward.cc"
#include <hwy/foreach_target.h>
// After foreach_target, which includes this file once per target.
#include "tensor/cpu/conv1d-inl.h"
#include "tensor/cpu/dispatch.h"

HWY_BEFORE_NAMESPACE();
namespace eyrie::tensor::cpu {
namespace HWY_NAMESPACE {
namespace {

// So many channels are walked through a block together: their sums stay in the L1 cache.
constexpr std::int64_t kTile = 512;

using Sums = float[kConvWidth + 1][kTile + kMaxLanes];  // of the taps in w's order, of the bias

// One row of dx, and what the row adds to the sums, for the channels [begin, end). `outputs`: dy of
// the outputs that this input counts for.
template <class T, class G>
void backward_row(const Rows<T>& inputs, const Rows<float>& outputs, const float* dy,
                  const float* w, std::int64_t channels, std::int64_t begin, std::int64_t end,
                  G* dx, Sums& sums) {
  for_vectors(begin, end, [&](std::int64_t c, auto part) {
    const std::int64_t place = c - begin;
    const V d = load(dy + c, part);
    store(hn::Add(load(sums[kConvWidth] + place), d), sums[kConvWidth] + place);
    for (int s = 0; s < inputs.count; ++s) {
      float* const sum = sums[kKept - s] + place;
      store(hn::MulAdd(d, load(inputs.at[s] + c, part), load(sum)), sum);
    }
    V total = set(0.0f);
    for (int s = 0; s < outputs.count; ++s) {
      const V tap = load(w + (kKept - s) * channels + c, part);
      total = hn::MulAdd(tap, load(outputs.at[s] + c, part), total);
    }
    store(total, dx + c, part);
  });
}

// The same for kTogether rows whose taps all count; x, dy and dx are at the first.
template <class T, class G>
void backward_rows(const T* x, const float* dy, const float* w, std::int64_t channels,
                   std::int64_t begin, std::int64_t end, G* dx, Sums& sums) {
  for_vectors(begin, end, [&](std::int64_t c, auto part) {
    const std::int64_t place = c - begin;
    V taps[kConvWidth], in[kKept + kTogether], d[kKept + kTogether];
    for (int s = 0; s < kConvWidth; ++s) taps[s] = load(w + s * channels + c, part);
    for (int i = 0; i < kKept + kTogether; ++i) {
      in[i] = load(x + (i - kKept) * channels + c, part);
      d[i] = load(dy + i * channels + c, part);
    }
    for (int which = 0; which <= kConvWidth; ++which) {
      V sum = load(sums[which] + place);
      for (int r = 0; r < kTogether; ++r)
        sum = which == kConvWidth ? hn::Add(sum, d[r]) : hn::MulAdd(d[r], in[r + which], sum);
      store(sum, sums[which] + place);
    }
    for (int r = 0; r < kTogether; ++r) {
      V total = set(0.0f);
      for (int s = 0; s < kConvWidth; ++s) total = hn::MulAdd(taps[kKept - s], d[r + s], total);
      store(total, dx + r * channels + c, part);
    }
  });
}

// dy of a sequence's rows, and of the kKept after its last, if another rank holds these.
struct Outputs {
  const float *dy, *next_dy;
  const std::int32_t* next_place;

  template <class T>
  Rows<float> of(const Sequence<T>& q, std::int64_t t) const {
    Rows<float> rows;
    for (std::int64_t s = 0; s < kConvWidth; ++s) {
      const std::int64_t row = t + s, next = row - q.length;
      if (next < 0 ? q.position[row] < s : !next_dy || next_place[next] < s) break;
      rows.add(next < 0 ? dy + row * q.channels : next_dy + next * q.channels);
    }
    return rows;
  }
};

// The rows [first, last) of dx, and their sums over time, in `to`: which · step + channel.
template <class T, class G>
void backward_block(const Sequence<T>& sequence, const Outputs& outputs, const float* w,
                    std::int64_t first, std::int64_t last, G* dx, float* to, std::int64_t step) {
  const std::int64_t channels = sequence.channels;
  HWY_ALIGN Sums sums;
  for (std::int64_t begin = 0; begin < channels; begin += kTile) {
    const std::int64_t end = std::min(begin + kTile, channels);
    for (auto& sum : sums) std::fill(sum, sum + kTile + kMaxLanes, 0.0f);
    for (std::int64_t t = first; t < last;) {
      const float* const d = outputs.dy + t * channels;
      G* const out = dx + t * channels;
      if (t + kTogether <= last && sequence.one_document(t, t + kTogether - 1 + kKept)) {
        backward_rows(sequence.x + t * channels, d, w, channels, begin, end, out, sums);
        t += kTogether;
      } else {
        backward_row(sequence.inputs(t), outputs.of(sequence, t), d, w, channels, begin, end, out,
                     sums);
        ++t;
      }
    }
    for (std::int64_t which = 0; which <= kConvWidth; ++which)
      std::copy(sums[which], sums[which] + end - begin, to + which * step + begin);
  }
}

void Conv1dBackward(const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& positions,
                    std::int64_t sequences, const Tensor& dx, const Tensor& dw, const Tensor& db,
                    const ConvNeighbours& neighbours) {
  const std::int64_t channels = x.columns(), length = length_of(x, sequences);
  const std::int64_t blocks = sequences * ((length + kBlockRows - 1) / kBlockRows);
  const auto* position = positions.as<std::int32_t>();
  const float *taps = w.f32(), *douts = dy.f32();
  const bool goes_on = static_cast<bool>(neighbours.next_dy);
  static thread_local std::vector<float> memory;  // (kConvWidth + 1, blocks, channels)
  memory.resize(static_cast<std::size_t>((kConvWidth + 1) * blocks * channels));
  float* const all_sums = memory.data();
  with_type(x, [&](auto* in) {
    using T = std::remove_pointer_t<decltype(in)>;
    const auto* histories = static_cast<const T*>(neighbours.history.data());
    with_type(dx, [&](auto* out) {
      for_blocks(
          sequences, length,
          [&](std::int64_t q, std::int64_t block, std::int64_t first, std::int64_t last) {
            const Sequence<T> sequence{position + q * length, in + q * length * channels,
                                       histories ? histories + q * kKept * channels : nullptr,
                                       channels, length};
            const Outputs outputs{
                douts + q * length * channels,
                goes_on ? neighbours.next_dy.f32() + q * kKept * channels : nullptr,
                goes_on ? neighbours.next_place.template as<std::int32_t>() + q * kKept : nullptr};
            const std::int64_t row = q * (blocks / sequences) + block;
            backward_block(sequence, outputs, taps, first, last, out + q * length * channels,
                           all_sums + row * channels, blocks * channels);
          });
    });
  });
  for (std::int64_t which = 0; which <= kConvWidth; ++which) {
    float* const to = which < kConvWidth ? dw.f32() + which * channels : db.f32();
    for_vectors(0, channels, [&](std::int64_t c, auto part) {
      V total = set(0.0f);
      for (std::int64_t row = 0; row < blocks; ++row)
        total = hn::Add(total, load(all_sums + (which * blocks + row) * channels + c, part));
      store(total, to + c, part);
    });
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace eyrie::tensor::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace eyrie::tensor::cpu {
HWY_EXPORT(Conv1dBackward);
void conv1d_backward(const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& positions,
                     std::int64_t sequences, const Tensor& dx, const Tensor& dw, const Tensor& db,
                     const ConvNeighbours& neighbours) {
  HWY_DYNAMIC_DISPATCH(Conv1dBackward)
  (dy, x, w, positions, sequences, dx, dw, db, neighbours);
}

}  // namespace eyrie::tensor::cpu
#endif
