// The RG-LRU: gates, decay and scan in one pass over time. Threads own sequences and channels.
#include "tensor/cpu/kernels.h"

#include <algorithm>
#include <type_traits>
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
template <class Part>
HWY_INLINE Input input_of(V u, float* gate_x, float* gate_a, V bias_x, V bias_a, V decay,
                          bool first, Part part) {
  const V i = sigmoid(hn::Add(load(gate_x, part), bias_x));
  const V r = sigmoid(hn::Add(load(gate_a, part), bias_a));
  store(i, gate_x, part);
  store(r, gate_a, part);
  const V x = hn::Mul(u, i);
  if (first) return {set(0.0f), x};
  const Decay d = decay_of(hn::Mul(decay, r));
  return {d.a, hn::Mul(d.m, x)};
}

// The operands of one call. Kernels copy them to their own stack, where no store of a vector can
// be taken to change them.
template <class T>
struct Forward {
  const T* u;
  float *gate_x, *gate_a;
  const float *bias_x, *bias_a;
  const std::int32_t* position;
  T* h;
  float* state;  // or null
  const Tensor& a_param;
  std::int64_t sequences, length, channels;

  template <class Part>
  HWY_INLINE Input input(std::int64_t at, std::int64_t c, V decay, bool first, Part part) const {
    return input_of(load(u + at, part), gate_x + at, gate_a + at, load(bias_x + c, part),
                    load(bias_a + c, part), decay, first, part);
  }
};

// One pass over time: gates and recurrence.
template <class T>
void one_pass(const Forward<T>& operands) {
  for_channel_tiles(operands.sequences, operands.channels, lanes(), [&](const ChannelTile& tile) {
    const Forward<T> f = operands;
    const std::int64_t channels = f.channels;
    float* const state = f.state ? f.state + tile.sequence * channels : nullptr;
    Carried decay, held;
    log_decays(f.a_param, tile, decay);
    start(state, tile, held);
    for (std::int64_t t = tile.sequence * f.length; t < (tile.sequence + 1) * f.length; ++t) {
      const bool first = f.position[t] == 0;
      for_vectors(tile.begin, tile.end, [&](std::int64_t c, auto part) {
        const std::int64_t at = t * channels + c;
        float* const carried = held.values + c - tile.begin;
        // The next row of a tile is elsewhere: the processor's own prefetching does not find it.
        hwy::Prefetch(f.u + at + channels);
        hwy::Prefetch(f.gate_x + at + channels);
        hwy::Prefetch(f.gate_a + at + channels);
        const Input input = f.input(at, c, load(decay.values + c - tile.begin), first, part);
        const V next = first ? input.x : hn::MulAdd(input.a, load(carried), input.x);
        store(next, carried);
        store(next, f.h + at, part);
      });
    }
    if (state) finish(held, tile, state);
  });
}

// The same where there are fewer channels than would keep the threads busy: they compute the gates
// of a block of time together, then the recurrence, which is the lesser part, by channels.
template <class T>
void by_time(const Forward<T>& operands) {
  const std::int64_t channels = operands.channels;
  const std::vector<float> decays = all_log_decays(operands.a_param);
  thread_local std::vector<float> memory;
  memory.resize(static_cast<std::size_t>(2 * std::min(operands.length, kTimeBlock) * channels));
  std::vector<float> carried(static_cast<std::size_t>(channels), 0.0f);
  for (std::int64_t s = 0; s < operands.sequences; ++s) {
    float* const state = operands.state ? operands.state + s * channels : nullptr;
    state ? std::copy_n(state, channels, carried.data())
          : std::fill_n(carried.data(), channels, 0.0f);
    for (std::int64_t done = 0; done < operands.length; done += kTimeBlock) {
      const std::int64_t begin = s * operands.length + done,
                         rows = std::min(kTimeBlock, operands.length - done);
      float *const all_a = memory.data(), *const all_x = all_a + rows * channels;
      parallel_for(rows, 16, [&](std::int64_t from, std::int64_t to) {
        const Forward<T> f = operands;
        float *const a = all_a, *const x = all_x;
        const float* const decay = decays.data();
        for (std::int64_t t = from; t < to; ++t) {
          const bool first = f.position[begin + t] == 0;
          for_vectors(0, f.channels, [&](std::int64_t c, auto part) {
            const Input input =
                f.input((begin + t) * f.channels + c, c, load(decay + c, part), first, part);
            store(input.a, a + t * f.channels + c, part);
            store(input.x, x + t * f.channels + c, part);
          });
        }
      });
      for_channel_tiles(1, channels, lanes(), [&](const ChannelTile& tile) {
        const Forward<T> f = operands;
        float *const a = all_a, *const x = all_x, *const last = carried.data();
        for (std::int64_t t = 0; t < rows; ++t) {
          const bool first = f.position[begin + t] == 0;
          for_vectors(tile.begin, tile.end, [&](std::int64_t c, auto part) {
            const V own = load(x + t * f.channels + c, part);
            const V next =
                first ? own
                      : hn::MulAdd(load(a + t * f.channels + c, part), load(last + c, part), own);
            store(next, last + c, part);
            store(next, f.h + (begin + t) * f.channels + c, part);
          });
        }
      });
    }
    if (state) std::copy_n(carried.data(), channels, state);
  }
}

void RgLru(const Tensor& u, const Tensor& gate_x, const Tensor& gate_a, const Tensor& bias_x,
           const Tensor& bias_a, const Tensor& a_param, const Tensor& positions,
           std::int64_t sequences, const Tensor& h, const Tensor& state) {
  EYRIE_CHECK(u.dtype() == h.dtype(), "rg_lru: u and h of one dtype");
  with_type(u, [&](auto* in) {
    using T = std::remove_pointer_t<decltype(in)>;
    const Forward<T> f{.u = in,
                       .gate_x = gate_x.f32(),
                       .gate_a = gate_a.f32(),
                       .bias_x = bias_x.f32(),
                       .bias_a = bias_a.f32(),
                       .position = positions.as<std::int32_t>(),
                       .h = static_cast<T*>(h.data()),
                       .state = state ? state.f32() : nullptr,
                       .a_param = a_param,
                       .sequences = sequences,
                       .length = length_of(u, sequences),
                       .channels = u.columns()};
    too_narrow(sequences, f.channels, lanes(), 1) ? by_time(f) : one_pass(f);
  });
}

void RgLruSummary(const Tensor& u, const Tensor& gate_x, const Tensor& gate_a, const Tensor& bias_x,
                  const Tensor& bias_a, const Tensor& a_param, const Tensor& positions,
                  std::int64_t sequences, const Tensor& product, const Tensor& last) {
  const std::int64_t channels = u.columns(), length = length_of(u, sequences);
  const auto* position = positions.as<std::int32_t>();
  const float *all_x = gate_x.f32(), *all_a = gate_a.f32();
  const float *biases_x = bias_x.f32(), *biases_a = bias_a.f32();
  with_type(u, [&](auto* inputs) {
    for_channel_tiles(sequences, channels, lanes(), [&](const ChannelTile& tile) {
      const auto* const in = inputs;
      const float *const x = all_x, *const a = all_a, *const own_x = biases_x,
                         *const own_a = biases_a;
      Carried decay, held, all;
      log_decays(a_param, tile, decay);
      start(nullptr, tile, held);
      start(nullptr, tile, all, 1.0f);
      for (std::int64_t t = tile.sequence * length; t < (tile.sequence + 1) * length; ++t) {
        const bool first = position[t] == 0;
        for_vectors(tile.begin, tile.end, [&](std::int64_t c, auto part) {
          const std::int64_t at = t * channels + c, place = c - tile.begin;
          const V i = sigmoid(hn::Add(load(x + at, part), load(own_x + c, part)));
          V next = hn::Mul(load(in + at, part), i), factor = set(0.0f);
          if (!first) {
            const V r = sigmoid(hn::Add(load(a + at, part), load(own_a + c, part)));
            const Decay d = decay_of(hn::Mul(load(decay.values + place), r));
            next = hn::MulAdd(d.a, load(held.values + place), hn::Mul(d.m, next));
            factor = hn::Mul(d.a, load(all.values + place));
          }
          store(next, held.values + place);
          store(factor, all.values + place);
        });
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
  const float *all_dh = dh.f32(), *all_r = r.f32();
  for_channel_tiles(sequences, channels, lanes(), [&](const ChannelTile& tile) {
    const float *const arriving = all_dh, *const gate = all_r;
    Carried decay, held, all;
    log_decays(a_param, tile, decay);
    start(nullptr, tile, held);
    start(nullptr, tile, all, 1.0f);
    for (std::int64_t t = (tile.sequence + 1) * length - 1; t >= tile.sequence * length; --t) {
      const bool cut = position[t] == 0;
      for_vectors(tile.begin, tile.end, [&](std::int64_t c, auto part) {
        const std::int64_t at = t * channels + c, place = c - tile.begin;
        const V a = cut ? set(0.0f)
                        : decay_of(hn::Mul(load(decay.values + place), load(gate + at, part))).a;
        const V next = hn::Add(load(arriving + at, part), load(held.values + place));
        store(hn::Mul(a, next), held.values + place);
        store(hn::Mul(a, load(all.values + place)), all.values + place);
      });
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
