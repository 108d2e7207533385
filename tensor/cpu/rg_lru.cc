// The RG-LRU: gates, decay and scan in one pass over time. Threads own sequences and channels.
#include "tensor/cpu/kernels.h"

#include <algorithm>
#include <vector>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/rg_lru.cc"
#include <hwy/foreach_target.h>
// After foreach_target, which includes this file once per target.
#include "tensor/cpu/channel_tiles.h"
#include "tensor/cpu/dispatch.h"
#include "tensor/cpu/rg_lru-inl.h"
#include "tensor/threads.h"

HWY_BEFORE_NAMESPACE();
namespace eyrie::tensor::cpu {
namespace HWY_NAMESPACE {
namespace {

// The gates of one element, written back, and what it adds to the recurrence: h = a h + x, where a
// is 0 at a document's first token.
struct Input {
  V a, x;
};
HWY_INLINE Input input_of(V u, float* gate_x, float* gate_a, V bias_x, V bias_a, V decay,
                          bool first, std::int64_t part) {
  const V i = sigmoid(hn::Add(load(gate_x, part), bias_x));
  const V r = sigmoid(hn::Add(load(gate_a, part), bias_a));
  store(i, gate_x, part);
  store(r, gate_a, part);
  const V x = hn::Mul(u, i);
  if (first) return {set(0.0f), x};
  const Decay d = decay_of(hn::Mul(decay, r));
  return {d.a, hn::Mul(d.m, x)};
}

struct Forward {
  Tensor u, gate_x, gate_a, bias_x, bias_a, a_param, positions, h, state;
  std::int64_t sequences, length;
};

// One pass over time: gates and recurrence.
template <class T>
void one_pass(const Forward& f, const T* in, T* out) {
  const std::int64_t channels = f.u.columns();
  const auto* position = f.positions.as<std::int32_t>();
  for_channel_tiles(f.sequences, channels, lanes(), [&](const ChannelTile& tile) {
    Carried decay, held;
    log_decays(f.a_param, tile, decay);
    start(row_of(f.state, tile.sequence), tile, held);
    for (std::int64_t t = tile.sequence * f.length; t < (tile.sequence + 1) * f.length; ++t) {
      const bool first = position[t] == 0;
      for (std::int64_t c = tile.begin; c < tile.end; c += lanes()) {
        const std::int64_t at = t * channels + c, part = tile.end - c;
        float* const carried = held.values + c - tile.begin;
        const Input input = input_of(load(in + at, part), f.gate_x.f32() + at, f.gate_a.f32() + at,
                                     load(f.bias_x.f32() + c, part), load(f.bias_a.f32() + c, part),
                                     load(decay.values + c - tile.begin), first, part);
        const V next = first ? input.x : hn::MulAdd(input.a, load(carried), input.x);
        store(next, carried);
        store(next, out + at, part);
      }
    }
    if (f.state) finish(held, tile, f.state.f32() + tile.sequence * channels);
  });
}

// The same where there are fewer channels than would keep the threads busy: they compute the gates
// of a block of time together, then the recurrence, which is the lesser part, by channels.
template <class T>
void by_time(const Forward& f, const T* in, T* out) {
  const std::int64_t channels = f.u.columns();
  const auto* position = f.positions.as<std::int32_t>();
  const std::vector<float> decay = all_log_decays(f.a_param);
  thread_local std::vector<float> memory;
  memory.resize(static_cast<std::size_t>(2 * std::min(f.length, kTimeBlock) * channels));
  std::vector<float> carried(static_cast<std::size_t>(channels), 0.0f);
  for (std::int64_t s = 0; s < f.sequences; ++s) {
    const float* before = row_of(f.state, s);
    before ? std::copy_n(before, channels, carried.data())
           : std::fill_n(carried.data(), channels, 0.0f);
    for (std::int64_t done = 0; done < f.length; done += kTimeBlock) {
      const std::int64_t begin = s * f.length + done, rows = std::min(kTimeBlock, f.length - done);
      float *const a = memory.data(), *const x = a + rows * channels;
      parallel_for(rows, 16, [&](std::int64_t from, std::int64_t to) {
        for (std::int64_t t = from; t < to; ++t) {
          for (std::int64_t c = 0; c < channels; c += lanes()) {
            const std::int64_t at = (begin + t) * channels + c, part = channels - c;
            const Input input =
                input_of(load(in + at, part), f.gate_x.f32() + at, f.gate_a.f32() + at,
                         load(f.bias_x.f32() + c, part), load(f.bias_a.f32() + c, part),
                         load(decay.data() + c, part), position[begin + t] == 0, part);
            store(input.a, a + t * channels + c, part);
            store(input.x, x + t * channels + c, part);
          }
        }
      });
      for_channel_tiles(1, channels, lanes(), [&](const ChannelTile& tile) {
        for (std::int64_t c = tile.begin; c < tile.end; c += lanes()) {
          const std::int64_t part = tile.end - c;
          V next = load(carried.data() + c, part);
          for (std::int64_t t = 0; t < rows; ++t) {
            const V own = load(x + t * channels + c, part);
            next = position[begin + t] == 0
                       ? own
                       : hn::MulAdd(load(a + t * channels + c, part), next, own);
            store(next, out + (begin + t) * channels + c, part);
          }
          store(next, carried.data() + c, part);
        }
      });
    }
    if (f.state) std::copy_n(carried.data(), channels, f.state.f32() + s * channels);
  }
}

void RgLru(const Tensor& u, const Tensor& gate_x, const Tensor& gate_a, const Tensor& bias_x,
           const Tensor& bias_a, const Tensor& a_param, const Tensor& positions,
           std::int64_t sequences, const Tensor& h, const Tensor& state) {
  EYRIE_CHECK(u.dtype() == h.dtype(), "rg_lru: u and h of one dtype");
  const Forward f{u,
                  gate_x,
                  gate_a,
                  bias_x,
                  bias_a,
                  a_param,
                  positions,
                  h,
                  state,
                  sequences,
                  length_of(u, sequences)};
  with_type(u, [&](auto* in) {
    auto* out = static_cast<decltype(in)>(h.data());
    too_narrow(sequences, u.columns(), lanes(), 1) ? by_time(f, in, out) : one_pass(f, in, out);
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

}  // namespace eyrie::tensor::cpu
#endif
