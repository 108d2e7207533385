// The depthwise causal convolution: each thread owns channels and goes through time in order.
#include "tensor/cpu/kernels.h"

#include <algorithm>
#include <cstring>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/conv1d.cc"
#include <hwy/foreach_target.h>
// After foreach_target, which includes this file once per target.
#include "tensor/cpu/dispatch.h"
#include "tensor/cpu/simd-inl.h"
#include "tensor/threads.h"

HWY_BEFORE_NAMESPACE();
namespace eyrie::tensor::cpu {
namespace HWY_NAMESPACE {
namespace {

constexpr std::int64_t kChannelTile = 64;

void Conv1d(const Tensor& x, const Tensor& w, const Tensor& b, const Tensor& positions,
            std::int64_t sequences, const Tensor& y, const Tensor& history) {
  const std::int64_t channels = x.columns(),
                     length = x.rows() / std::max<std::int64_t>(sequences, 1);
  const auto* position = positions.as<std::int32_t>();
  with_type(x, [&](auto* in) {
    auto* out = static_cast<decltype(in)>(y.data());
    auto* past = static_cast<decltype(in)>(history.data());
    EYRIE_CHECK(x.dtype() == y.dtype() && (!history || history.dtype() == x.dtype()),
                "conv1d: one dtype");
    parallel_for(
        (channels + kChannelTile - 1) / kChannelTile, 1, [&](std::int64_t begin, std::int64_t end) {
          for (std::int64_t c = begin * kChannelTile; c < std::min(end * kChannelTile, channels);
               c += lanes()) {
            const std::int64_t part = channels - c;
            V tap[kConvWidth];
            for (int s = 0; s < kConvWidth; ++s)
              tap[s] = load(w.f32() + (kConvWidth - 1 - s) * channels + c, part);
            const V bias = load(b.f32() + c, part);
            for (std::int64_t q = 0; q < sequences; ++q) {
              V before[kConvWidth];  // before[s]: the input s tokens ago
              for (int s = 1; s < kConvWidth; ++s) {
                before[s] =
                    past ? load(past + (q * (kConvWidth - 1) + kConvWidth - 1 - s) * channels + c,
                                part)
                         : set(0.0f);
              }
              std::int64_t reach = kConvWidth;  // how many of them belong to this document
              for (std::int64_t t = 0; t < length; ++t) {
                const std::int64_t row = q * length + t;
                reach = position[row];
                before[0] = load(in + row * channels + c, part);
                V total = hn::MulAdd(tap[0], before[0], bias);
                for (int s = 1; s < kConvWidth; ++s) {
                  if (reach >= s) total = hn::MulAdd(tap[s], before[s], total);
                }
                store(total, out + row * channels + c, part);
                for (int s = kConvWidth - 1; s > 0; --s) before[s] = before[s - 1];
              }
              if (past && length > 0) {
                for (int s = 1; s < kConvWidth; ++s) {
                  const V kept = s - 1 <= reach ? before[s] : set(0.0f);
                  store(kept, past + (q * (kConvWidth - 1) + kConvWidth - 1 - s) * channels + c,
                        part);
                }
              }
            }
          }
        });
  });
}

void Conv1dBackward(const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& positions,
                    std::int64_t sequences, const Tensor& dx, const Tensor& dw, const Tensor& db,
                    const ConvNeighbours& neighbours) {
  constexpr std::int64_t kKept = kConvWidth - 1;
  const std::int64_t channels = x.columns(),
                     length = x.rows() / std::max<std::int64_t>(sequences, 1);
  const auto* position = positions.as<std::int32_t>();
  const float* next_dy = neighbours.next_dy ? neighbours.next_dy.f32() : nullptr;
  const auto* next_place = next_dy ? neighbours.next_place.as<std::int32_t>() : nullptr;
  with_type(x, [&](auto* in) {
    const auto* past = static_cast<decltype(in)>(neighbours.history.data());
    with_type(dx, [&](auto* out) {
      parallel_for((channels + kChannelTile - 1) / kChannelTile, 1,
                   [&](std::int64_t begin, std::int64_t end) {
                     for (std::int64_t c = begin * kChannelTile;
                          c < std::min(end * kChannelTile, channels); c += lanes()) {
                       const std::int64_t part = channels - c;
                       V tap[kConvWidth], dtap[kConvWidth], dbias = set(0.0f);
                       for (int s = 0; s < kConvWidth; ++s) {
                         tap[s] = load(w.f32() + (kConvWidth - 1 - s) * channels + c, part);
                         dtap[s] = set(0.0f);
                       }
                       for (std::int64_t q = 0; q < sequences; ++q) {
                         V before[kConvWidth];
                         for (std::int64_t s = 1; s < kConvWidth; ++s) {
                           before[s] =
                               past ? load(past + (q * kKept + kKept - s) * channels + c, part)
                                    : set(0.0f);
                         }
                         for (std::int64_t t = 0; t < length; ++t) {
                           const std::int64_t row = q * length + t;
                           const std::int64_t reach = position[row];
                           const V d = load(dy.f32() + row * channels + c, part);
                           before[0] = load(in + row * channels + c, part);
                           dbias = hn::Add(dbias, d);
                           dtap[0] = hn::MulAdd(d, before[0], dtap[0]);
                           for (int s = 1; s < kConvWidth; ++s) {
                             if (reach >= s) dtap[s] = hn::MulAdd(d, before[s], dtap[s]);
                           }
                           for (int s = kConvWidth - 1; s > 0; --s) before[s] = before[s - 1];
                           V total = hn::Mul(tap[0], d);
                           for (int s = 1; s < kConvWidth; ++s) {  // outputs with this input
                             const float* from = nullptr;
                             if (t + s < length) {
                               if (position[row + s] >= s) from = dy.f32() + (row + s) * channels;
                             } else if (next_dy) {
                               const std::int64_t next = q * kKept + t + s - length;
                               if (next_place[next] >= s) from = next_dy + next * channels;
                             }
                             if (from) total = hn::MulAdd(tap[s], load(from + c, part), total);
                           }
                           store(total, out + row * channels + c, part);
                         }
                       }
                       for (int s = 0; s < kConvWidth; ++s)
                         store(dtap[s], dw.f32() + (kConvWidth - 1 - s) * channels + c, part);
                       store(dbias, db.f32() + c, part);
                     }
                   });
    });
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
HWY_EXPORT(Conv1dBackward);
void conv1d_backward(const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& positions,
                     std::int64_t sequences, const Tensor& dx, const Tensor& dw, const Tensor& db,
                     const ConvNeighbours& neighbours) {
  HWY_DYNAMIC_DISPATCH(Conv1dBackward)
  (dy, x, w, positions, sequences, dx, dw, db, neighbours);
}

}  // namespace eyrie::tensor::cpu
#endif
