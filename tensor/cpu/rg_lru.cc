// The RG-LRU: gates, decay and scan in one pass over time. Threads own sequences and channels.
#include "tensor/cpu/kernels.h"

#include <algorithm>
#include <cmath>
#include <vector>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/rg_lru.cc"
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

// The bound of the derivative of the square root, as in the official code.
constexpr float kMostRootSlope = 1000.0f;

// Carried along time for each channel of a tile.
struct Carried {
  HWY_ALIGN float values[kChannelTile + kMaxLanes];
};

// Returns −8 softplus(p), which is log a for r = 1. Its derivative is −8 σ(p).
HWY_INLINE V log_decay(V p) {
  // softplus without overflow: max(p, 0) + log1p(e^−|p|).
  const V tail = hn::Log1p(kF, exponential(hn::Neg(hn::Abs(p))));
  return hn::Mul(set(-kRgLruC), hn::Add(hn::Max(set(0.0f), p), tail));
}

void log_decays(const Tensor& a_param, const ChannelTile& tile, Carried& decay) {
  for (std::int64_t c = tile.begin; c < tile.end; c += lanes())
    store(log_decay(load(a_param.f32() + c, tile.end - c)), decay.values + c - tile.begin);
}

// row (1, R), or zeros if it is empty.
void start(const float* row, const ChannelTile& tile, Carried& carried, float otherwise = 0.0f) {
  for (std::int64_t c = tile.begin; c < tile.end; c += lanes()) {
    store(row ? load(row + c, tile.end - c) : set(otherwise), carried.values + c - tile.begin);
  }
}

void finish(const Carried& carried, const ChannelTile& tile, float* row) {
  for (std::int64_t c = tile.begin; c < tile.end; c += lanes())
    store(load(carried.values + c - tile.begin), row + c, tile.end - c);
}

const float* row_of(const Tensor& x, std::int64_t row) {
  return x ? x.f32() + row * x.stride() : nullptr;
}

// a = e^(log a), m = √(1 − a²) and 1/m, from one exponential: with e = a − 1, 1 − a² = −e (2 + e).
struct Decay {
  V a, m, inverse_m;
};
HWY_INLINE Decay decay_of(V log_a) {
  const V e = exponential_minus_one(log_a);
  const V square = hn::Neg(hn::Mul(e, hn::Add(e, set(2.0f))));
  const V inverse = reciprocal_root(hn::Max(set(1e-30f), square));
  return {hn::Add(e, set(1.0f)), hn::Mul(square, inverse), inverse};
}

std::int64_t length_of(const Tensor& x, std::int64_t sequences) {
  return x.rows() / std::max<std::int64_t>(sequences, 1);
}

void RgLru(const Tensor& u, const Tensor& gate_x, const Tensor& gate_a, const Tensor& bias_x,
           const Tensor& bias_a, const Tensor& a_param, const Tensor& positions,
           std::int64_t sequences, const Tensor& h, const Tensor& state) {
  const std::int64_t channels = u.columns(), length = length_of(u, sequences);
  const auto* position = positions.as<std::int32_t>();
  with_type(u, [&](auto* in) {
    auto* out = static_cast<decltype(in)>(h.data());
    EYRIE_CHECK(u.dtype() == h.dtype(), "rg_lru: u and h of one dtype");
    for_channel_tiles(sequences, channels, lanes(), [&](const ChannelTile& tile) {
      Carried decay, held;
      log_decays(a_param, tile, decay);
      start(row_of(state, tile.sequence), tile, held);
      for (std::int64_t t = tile.sequence * length; t < (tile.sequence + 1) * length; ++t) {
        const bool first = position[t] == 0;
        for (std::int64_t c = tile.begin; c < tile.end; c += lanes()) {
          const std::int64_t at = t * channels + c, part = tile.end - c;
          float* const carried = held.values + c - tile.begin;
          const V i = sigmoid(hn::Add(load(gate_x.f32() + at, part), load(bias_x.f32() + c, part)));
          const V r = sigmoid(hn::Add(load(gate_a.f32() + at, part), load(bias_a.f32() + c, part)));
          store(i, gate_x.f32() + at, part);
          store(r, gate_a.f32() + at, part);
          V next = hn::Mul(load(in + at, part), i);
          if (!first) {
            const Decay d = decay_of(hn::Mul(load(decay.values + c - tile.begin), r));
            next = hn::MulAdd(d.a, load(carried), hn::Mul(d.m, next));
          }
          store(next, carried);
          store(next, out + at, part);
        }
      }
      if (state) finish(held, tile, state.f32() + tile.sequence * channels);
    });
  });
}

void RgLruSummary(const Tensor& u, const Tensor& gate_x, const Tensor& gate_a, const Tensor& bias_x,
                  const Tensor& bias_a, const Tensor& a_param, const Tensor& positions,
                  std::int64_t sequences, const Tensor& product, const Tensor& last) {
  const std::int64_t channels = u.columns(), length = length_of(u, sequences);
  const auto* position = positions.as<std::int32_t>();
  with_type(u, [&](auto* in) {
    for_channel_tiles(sequences, channels, lanes(), [&](const ChannelTile& tile) {
      Carried decay, held, all;
      log_decays(a_param, tile, decay);
      start(nullptr, tile, held);
      start(nullptr, tile, all, 1.0f);
      for (std::int64_t t = tile.sequence * length; t < (tile.sequence + 1) * length; ++t) {
        const bool first = position[t] == 0;
        for (std::int64_t c = tile.begin; c < tile.end; c += lanes()) {
          const std::int64_t at = t * channels + c, part = tile.end - c, place = c - tile.begin;
          const V i = sigmoid(hn::Add(load(gate_x.f32() + at, part), load(bias_x.f32() + c, part)));
          V next = hn::Mul(load(in + at, part), i), factor = set(0.0f);
          if (!first) {
            const V r =
                sigmoid(hn::Add(load(gate_a.f32() + at, part), load(bias_a.f32() + c, part)));
            const Decay d = decay_of(hn::Mul(load(decay.values + place), r));
            next = hn::MulAdd(d.a, load(held.values + place), hn::Mul(d.m, next));
            factor = hn::Mul(d.a, load(all.values + place));
          }
          store(next, held.values + place);
          store(factor, all.values + place);
        }
      }
      finish(all, tile, product.f32() + tile.sequence * channels);
      finish(held, tile, last.f32() + tile.sequence * channels);
    });
  });
}

void RgLruBackwardSummary(const Tensor& dh, const Tensor& r, const Tensor& a_param,
                          const Tensor& positions, std::int64_t sequences, const Tensor& product,
                          const Tensor& first) {
  const std::int64_t channels = dh.columns(), length = length_of(dh, sequences);
  const auto* position = positions.as<std::int32_t>();
  for_channel_tiles(sequences, channels, lanes(), [&](const ChannelTile& tile) {
    Carried decay, held, all;
    log_decays(a_param, tile, decay);
    start(nullptr, tile, held);
    start(nullptr, tile, all, 1.0f);
    for (std::int64_t t = (tile.sequence + 1) * length - 1; t >= tile.sequence * length; --t) {
      const bool cut = position[t] == 0;
      for (std::int64_t c = tile.begin; c < tile.end; c += lanes()) {
        const std::int64_t at = t * channels + c, part = tile.end - c, place = c - tile.begin;
        const V a = cut ? set(0.0f)
                        : decay_of(hn::Mul(load(decay.values + place), load(r.f32() + at, part))).a;
        const V next = hn::Add(load(dh.f32() + at, part), load(held.values + place));
        store(hn::Mul(a, next), held.values + place);
        store(hn::Mul(a, load(all.values + place)), all.values + place);
      }
    }
    finish(all, tile, product.f32() + tile.sequence * channels);
    finish(held, tile, first.f32() + tile.sequence * channels);
  });
}

// Gradients that are sums over time, for one tile.
struct TimeSums {
  Carried bias_x, bias_a, log_a;
};

// The gradient's way through one sequence's channels of a tile, backwards in time.
template <class T, class G>
void backward_tile(const RgLruBackward& args, const ChannelTile& tile, std::int64_t length,
                   const T* inputs, const T* states, G* out_x, G* out_a, TimeSums& sums) {
  const std::int64_t channels = args.u.columns(), begin = tile.sequence * length;
  const auto* position = args.positions.as<std::int32_t>();
  const float* initial = row_of(args.initial_state, tile.sequence);
  Carried decay, carried;  // carried: a[t+1] · g[t+1], where g[t] is what arrives at h[t]
  log_decays(args.a_param, tile, decay);
  start(row_of(args.dstate_last, tile.sequence), tile, carried);
  for (Carried* sum : {&sums.bias_x, &sums.bias_a, &sums.log_a}) start(nullptr, tile, *sum);
  const auto add = [](Carried& sum, std::int64_t place, V term) {
    store(hn::Add(load(sum.values + place), term), sum.values + place);
  };
  for (std::int64_t t = begin + length - 1; t >= begin; --t) {
    const bool first = position[t] == 0;
    for (std::int64_t c = tile.begin; c < tile.end; c += lanes()) {
      const std::int64_t at = t * channels + c, part = tile.end - c, place = c - tile.begin;
      const V g = hn::Add(load(args.dh.f32() + at, part), load(carried.values + place));
      const V i = load(args.i.f32() + at, part), r = load(args.r.f32() + at, part);
      const V u = load(inputs + at, part);
      V dgated = g, dr = set(0.0f), next = set(0.0f);
      if (!first) {
        const V before = t > begin ? load(states + at - channels, part)
                         : initial ? load(initial + c, part)
                                   : set(0.0f);
        const V slope_of_r = load(decay.values + place);
        const Decay d = decay_of(hn::Mul(slope_of_r, r));
        // d√(1 − a²)/d(1 − a²), bounded.
        const V slope = hn::Min(hn::Mul(set(0.5f), d.inverse_m), set(kMostRootSlope));
        // d/dlog a of a·before + m·gated, with d(1 − a²)/dlog a = −2a².
        const V through_m =
            hn::Mul(hn::Mul(hn::Mul(u, i), slope), hn::Mul(set(-2.0f), hn::Mul(d.a, d.a)));
        const V dlog_a = hn::Mul(g, hn::MulAdd(d.a, before, through_m));
        dr = hn::Mul(dlog_a, slope_of_r);
        add(sums.log_a, place, hn::Mul(dlog_a, r));
        dgated = hn::Mul(g, d.m);
        next = hn::Mul(d.a, g);
      }
      store(next, carried.values + place);
      store(hn::Mul(dgated, i), args.du.f32() + at, part);
      const V dx = hn::Mul(hn::Mul(dgated, u), hn::Mul(i, hn::Sub(set(1.0f), i)));
      const V da = hn::Mul(dr, hn::Mul(r, hn::Sub(set(1.0f), r)));
      store(dx, out_x + at, part);
      store(da, out_a + at, part);
      add(sums.bias_x, place, dx);
      add(sums.bias_a, place, da);
    }
  }
  if (args.dinitial_state)
    finish(carried, tile, args.dinitial_state.f32() + tile.sequence * channels);
}

// The sums over time of every sequence are added in the order of the sequences.
void RgLruBackwardKernel(const RgLruBackward& args, std::int64_t sequences) {
  const std::int64_t channels = args.u.columns(), length = length_of(args.u, sequences);
  static thread_local std::vector<float> memory;  // (3, sequences, channels)
  memory.resize(static_cast<std::size_t>(3 * sequences * channels));
  float* const sums = memory.data();
  const auto sums_of = [&](std::int64_t which, std::int64_t sequence) {
    return sums + (which * sequences + sequence) * channels;
  };
  with_type(args.u, [&](auto* inputs) {
    const auto* states = static_cast<decltype(inputs)>(args.h.data());
    with_type(args.dgate_x, [&](auto* out_x) {
      auto* out_a = static_cast<decltype(out_x)>(args.dgate_a.data());
      for_channel_tiles(sequences, channels, lanes(), [&](const ChannelTile& tile) {
        TimeSums tile_sums;
        backward_tile(args, tile, length, inputs, states, out_x, out_a, tile_sums);
        finish(tile_sums.bias_x, tile, sums_of(0, tile.sequence));
        finish(tile_sums.bias_a, tile, sums_of(1, tile.sequence));
        finish(tile_sums.log_a, tile, sums_of(2, tile.sequence));
      });
    });
  });
  for (std::int64_t c = 0; c < channels; c += lanes()) {
    const std::int64_t part = channels - c;
    V totals[3] = {set(0.0f), set(0.0f), set(0.0f)};
    for (std::int64_t which = 0; which < 3; ++which)
      for (std::int64_t q = 0; q < sequences; ++q)
        totals[which] = hn::Add(totals[which], load(sums_of(which, q) + c, part));
    const V dlog_decay = hn::Mul(set(-kRgLruC), sigmoid(load(args.a_param.f32() + c, part)));
    store(totals[0], args.dbias_x.f32() + c, part);
    store(totals[1], args.dbias_a.f32() + c, part);
    store(hn::Mul(totals[2], dlog_decay), args.da_param.f32() + c, part);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace eyrie::tensor::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace eyrie::tensor::cpu {
HWY_EXPORT(RgLru);
void rg_lru(const Tensor& u, const Tensor& gate_x, const Tensor& gate_a, const Tensor& bias_x,
            const Tensor& bias_a, const Tensor& a_param, const Tensor& positions,
            std::int64_t sequences, const Tensor& h, const Tensor& state) {
  HWY_DYNAMIC_DISPATCH(RgLru)
  (u, gate_x, gate_a, bias_x, bias_a, a_param, positions, sequences, h, state);
}
HWY_EXPORT(RgLruSummary);
void rg_lru_summary(const Tensor& u, const Tensor& gate_x, const Tensor& gate_a,
                    const Tensor& bias_x, const Tensor& bias_a, const Tensor& a_param,
                    const Tensor& positions, std::int64_t sequences, const Tensor& product,
                    const Tensor& last) {
  HWY_DYNAMIC_DISPATCH(RgLruSummary)
  (u, gate_x, gate_a, bias_x, bias_a, a_param, positions, sequences, product, last);
}
HWY_EXPORT(RgLruBackwardSummary);
void rg_lru_backward_summary(const Tensor& dh, const Tensor& r, const Tensor& a_param,
                             const Tensor& positions, std::int64_t sequences, const Tensor& product,
                             const Tensor& first) {
  HWY_DYNAMIC_DISPATCH(RgLruBackwardSummary)
  (dh, r, a_param, positions, sequences, product, first);
}
HWY_EXPORT(RgLruBackwardKernel);
void rg_lru_backward(const RgLruBackward& args, std::int64_t sequences) {
  HWY_DYNAMIC_DISPATCH(RgLruBackwardKernel)(args, sequences);
}

}  // namespace eyrie::tensor::cpu
#endif
