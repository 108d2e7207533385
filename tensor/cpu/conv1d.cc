// The depthwise causal convolution. Threads own sequences and channels.
#include "tensor/cpu/kernels.h"

#include <algorithm>
#include <cstring>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/conv1d.cc"
#include <hwy/foreach_target.h>
// After foreach_target, which includes this file once per target.
#include "tensor/cpu/channel_tiles.h"
#include "tensor/cpu/dispatch.h"
#include "tensor/cpu/simd-inl.h"
#include "tensor/threads.h"

HWY_BEFORE_NAMESPACE();
namespace eyrie::tensor::cpu {
namespace HWY_NAMESPACE {
namespace {

constexpr std::int64_t kKept = kConvWidth - 1;

// The rows t, t − 1, … that count for the output at t of a sequence whose first row is `begin`: of
// x and before its first row of `past`, the sequence's kKept rows of history, if there is one. The
// others are null.
template <class T>
struct Inputs {
  const T* rows[kConvWidth];
  Inputs(const T* x, const T* past, std::int64_t channels, std::int64_t begin, std::int64_t t,
         std::int64_t position) {
    for (std::int64_t s = 0; s < kConvWidth; ++s) {
      const std::int64_t row = t - s;
      rows[s] = position < s   ? nullptr
                : row >= begin ? x + row * channels
                : past         ? past + (kKept + row - begin) * channels
                               : nullptr;
    }
  }
};

// Moves the history on by `length` rows: its last kKept inputs, those of earlier documents zeroed.
template <class T>
void keep_history(const T* x, T* past, const ChannelTile& tile, std::int64_t channels,
                  std::int64_t begin, std::int64_t length, std::int64_t last_position) {
  for (std::int64_t s = kKept; s > 0; --s) {  // from the oldest: each reads a later row
    const std::int64_t row = length - s;
    const T* from = row >= 0 ? x + (begin + row) * channels : past + (kKept + row) * channels;
    T* const to = past + (kKept - s) * channels;
    for (std::int64_t c = tile.begin; c < tile.end; c += lanes()) {
      const std::int64_t part = tile.end - c;
      store(s - 1 <= last_position ? load(from + c, part) : set(0.0f), to + c, part);
    }
  }
}

void Conv1d(const Tensor& x, const Tensor& w, const Tensor& b, const Tensor& positions,
            std::int64_t sequences, const Tensor& y, const Tensor& history) {
  const std::int64_t channels = x.columns(),
                     length = x.rows() / std::max<std::int64_t>(sequences, 1);
  const auto* position = positions.as<std::int32_t>();
  with_type(x, [&](auto* in) {
    auto* out = static_cast<decltype(in)>(y.data());
    auto* histories = static_cast<decltype(in)>(history.data());
    EYRIE_CHECK(x.dtype() == y.dtype() && (!history || history.dtype() == x.dtype()),
                "conv1d: one dtype");
    for_channel_tiles(sequences, channels, lanes(), [&](const ChannelTile& tile) {
      auto* past = histories ? histories + tile.sequence * kKept * channels : nullptr;
      const std::int64_t begin = tile.sequence * length;
      for (std::int64_t t = begin; t < begin + length; ++t) {
        const Inputs inputs(in, past, channels, begin, t, position[t]);
        for (std::int64_t c = tile.begin; c < tile.end; c += lanes()) {
          const std::int64_t part = tile.end - c;
          V total = load(b.f32() + c, part);
          for (int s = 0; s < kConvWidth; ++s) {
            if (inputs.rows[s] == nullptr) continue;
            const V tap = load(w.f32() + (kKept - s) * channels + c, part);
            total = hn::MulAdd(tap, load(inputs.rows[s] + c, part), total);
          }
          store(total, out + t * channels + c, part);
        }
      }
      if (past && length > 0)
        keep_history(in, past, tile, channels, begin, length, position[begin + length - 1]);
    });
  });
}

// The gradients of one sequence's channels of a tile; the sums over time go to `sums`, the taps in
// the order of w and then the bias, kChannelTile each.
template <class T, class G>
void backward_tile(const Tensor& dy, const Tensor& w, const std::int32_t* position,
                   const ChannelTile& tile, std::int64_t length, const T* x, const T* past, G* dx,
                   const float* next_dy, const std::int32_t* next_place,
                   float (&sums)[kConvWidth + 1][kChannelTile + kMaxLanes]) {
  const std::int64_t channels = dy.columns(), begin = tile.sequence * length;
  for (auto& sum : sums) std::fill(sum, sum + kChannelTile + kMaxLanes, 0.0f);
  for (std::int64_t t = begin; t < begin + length; ++t) {
    const Inputs inputs(x, past, channels, begin, t, position[t]);
    const float* outputs[kConvWidth];  // dy of the outputs that this input counts for
    for (std::int64_t s = 0; s < kConvWidth; ++s) {
      const std::int64_t row = t + s, next = row - begin - length;
      outputs[s] = nullptr;
      if (next < 0) {
        if (position[row] >= s) outputs[s] = dy.f32() + row * channels;
      } else if (next_dy && next_place[next] >= s) {
        outputs[s] = next_dy + next * channels;
      }
    }
    for (std::int64_t c = tile.begin; c < tile.end; c += lanes()) {
      const std::int64_t part = tile.end - c, place = c - tile.begin;
      const V d = load(dy.f32() + t * channels + c, part);
      store(hn::Add(load(sums[kConvWidth] + place), d), sums[kConvWidth] + place);
      V total = set(0.0f);
      for (int s = 0; s < kConvWidth; ++s) {
        if (inputs.rows[s]) {
          float* const sum = sums[kKept - s] + place;
          store(hn::MulAdd(d, load(inputs.rows[s] + c, part), load(sum)), sum);
        }
        if (outputs[s]) {
          const V tap = load(w.f32() + (kKept - s) * channels + c, part);
          total = hn::MulAdd(tap, load(outputs[s] + c, part), total);
        }
      }
      store(total, dx + t * channels + c, part);
    }
  }
}

// The sums over time of every sequence are added in the order of the sequences.
void Conv1dBackward(const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& positions,
                    std::int64_t sequences, const Tensor& dx, const Tensor& dw, const Tensor& db,
                    const ConvNeighbours& neighbours) {
  const std::int64_t channels = x.columns(),
                     length = x.rows() / std::max<std::int64_t>(sequences, 1);
  const auto* position = positions.as<std::int32_t>();
  static thread_local std::vector<float> memory;  // (kConvWidth + 1, sequences, channels)
  memory.resize(static_cast<std::size_t>((kConvWidth + 1) * sequences * channels));
  float* const all_sums = memory.data();
  const auto sums_of = [&](std::int64_t which, std::int64_t sequence) {
    return all_sums + (which * sequences + sequence) * channels;
  };
  with_type(x, [&](auto* in) {
    const auto* histories = static_cast<decltype(in)>(neighbours.history.data());
    with_type(dx, [&](auto* out) {
      for_channel_tiles(sequences, channels, lanes(), [&](const ChannelTile& tile) {
        const std::int64_t kept = tile.sequence * kKept;
        const bool goes_on = static_cast<bool>(neighbours.next_dy);
        HWY_ALIGN float sums[kConvWidth + 1][kChannelTile + kMaxLanes];
        backward_tile(
            dy, w, position, tile, length, in, histories ? histories + kept * channels : nullptr,
            out, goes_on ? neighbours.next_dy.f32() + kept * channels : nullptr,
            goes_on ? neighbours.next_place.template as<std::int32_t>() + kept : nullptr, sums);
        for (std::int64_t which = 0; which <= kConvWidth; ++which) {
          std::copy(sums[which], sums[which] + tile.end - tile.begin,
                    sums_of(which, tile.sequence) + tile.begin);
        }
      });
    });
  });
  for (std::int64_t which = 0; which <= kConvWidth; ++which) {
    float* const to = which < kConvWidth ? dw.f32() + which * channels : db.f32();
    for (std::int64_t c = 0; c < channels; c += lanes()) {
      V total = set(0.0f);
      for (std::int64_t q = 0; q < sequences; ++q)
        total = hn::Add(total, load(sums_of(which, q) + c, channels - c));
      store(total, to + c, channels - c);
    }
  }
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
HWY_EXPORT(Conv1dBackward);
void conv1d_backward(const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& positions,
                     std::int64_t sequences, const Tensor& dx, const Tensor& dw, const Tensor& db,
                     const ConvNeighbours& neighbours) {
  HWY_DYNAMIC_DISPATCH(Conv1dBackward)
  (dy, x, w, positions, sequences, dx, dw, db, neighbours);
}

}  // namespace eyrie::tensor::cpu
#endif
