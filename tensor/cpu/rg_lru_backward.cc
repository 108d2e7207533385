// The RG-LRU's backward pass, backwards in time. Threads own sequences and channels, or blocks of
// time.
#include "tensor/cpu/kernels.h"

#include <algorithm>
#include <type_traits>
#include <vector>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/rg_lru_backward.cc"
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

// The bound of the derivative of the square root, as in the official code.
constexpr float kMostRootSlope = 1000.0f;

// What one element of the backward pass computes. g is what arrives at h[t].
struct Gradients {
  V a, du, dx, da, log_a;  // log_a: the term of dlog a · r; a and log_a are 0 at a first token
};
HWY_INLINE Gradients gradients_of(V g, V u, V i, V r, V before, V slope_of_r, bool first) {
  V a = set(0.0f), dgated = g, dr = set(0.0f), log_a = set(0.0f);
  if (!first) {
    const Decay d = decay_of(hn::Mul(slope_of_r, r));
    // d√(1 − a²)/d(1 − a²), bounded.
    const V slope = hn::Min(hn::Mul(set(0.5f), d.inverse_m), set(kMostRootSlope));
    // d/dlog a of a·before + m·gated, with d(1 − a²)/dlog a = −2a².
    const V through_m =
        hn::Mul(hn::Mul(hn::Mul(u, i), slope), hn::Mul(set(-2.0f), hn::Mul(d.a, d.a)));
    const V dlog_a = hn::Mul(g, hn::MulAdd(d.a, before, through_m));
    dr = hn::Mul(dlog_a, slope_of_r);
    log_a = hn::Mul(dlog_a, r);
    dgated = hn::Mul(g, d.m);
    a = d.a;
  }
  return {a, hn::Mul(dgated, i), hn::Mul(hn::Mul(dgated, u), hn::Mul(i, hn::Sub(set(1.0f), i))),
          hn::Mul(dr, hn::Mul(r, hn::Sub(set(1.0f), r))), log_a};
}

// Sums over time are made per block of this many tokens, and the blocks' sums are added in order:
// so that different threads may compute them.
constexpr std::int64_t kSumRows = 256;

// The operands of one call, with their types. Kernels copy them to their own stack, where no store
// of a vector can be taken to change them.
template <class T, class G>
struct Backward {
  const RgLruBackward& args;
  std::int64_t sequences, length, channels;
  const std::int32_t* position;
  const float *dh, *i, *r;
  const T *inputs, *states;
  float* du;
  G *out_x, *out_a;
  float* sums;  // (3, sequences, blocks, channels): of dbias_x, dbias_a and dlog a · r

  std::int64_t blocks() const { return (length + kSumRows - 1) / kSumRows; }
  float* sums_of(std::int64_t which, std::int64_t sequence, std::int64_t block) const {
    return sums + ((which * sequences + sequence) * blocks() + block) * channels;
  }
};

struct TimeSums {
  Carried bias_x, bias_a, log_a;
};

// What all channels of one token share.
template <class T>
struct Row {
  std::int64_t at;  // of its first element
  bool first;       // of its document
  const T* before;  // h before it; null: `initial`, or zeros if that is null too
  const float* initial;
};

template <class T, class G>
HWY_INLINE Row<T> row_at(const Backward<T, G>& b, std::int64_t sequence, std::int64_t t) {
  const std::int64_t at = t * b.channels;
  return {at, b.position[t] == 0, t > sequence * b.length ? b.states + at - b.channels : nullptr,
          row_of(b.args.initial_state, sequence)};
}

// One element of a row, from the g that arrives there; returns what it passes to the token before.
template <class T, class G, class Part>
HWY_INLINE V element(const Backward<T, G>& b, const Row<T>& row, std::int64_t c, Part part,
                     std::int64_t place, V g, V slope_of_r, TimeSums& sums) {
  const std::int64_t at = row.at + c;
  const V before = row.before    ? load(row.before + c, part)
                   : row.initial ? load(row.initial + c, part)
                                 : set(0.0f);
  const Gradients d = gradients_of(g, load(b.inputs + at, part), load(b.i + at, part),
                                   load(b.r + at, part), before, slope_of_r, row.first);
  store(d.du, b.du + at, part);
  store(d.dx, b.out_x + at, part);
  store(d.da, b.out_a + at, part);
  const auto add = [&](Carried& sum, V term) {
    store(hn::Add(load(sum.values + place), term), sum.values + place);
  };
  add(sums.bias_x, d.dx);
  add(sums.bias_a, d.da);
  if (row.first) return set(0.0f);
  add(sums.log_a, d.log_a);
  return hn::Mul(d.a, g);
}

HWY_INLINE void clear(const ChannelTile& tile, TimeSums& sums) {
  for (Carried* sum : {&sums.bias_x, &sums.bias_a, &sums.log_a}) start(nullptr, tile, *sum);
}
template <class T, class G>
HWY_INLINE void put(const Backward<T, G>& b, const ChannelTile& tile, std::int64_t block,
                    const TimeSums& sums) {
  finish(sums.bias_x, tile, b.sums_of(0, tile.sequence, block));
  finish(sums.bias_a, tile, b.sums_of(1, tile.sequence, block));
  finish(sums.log_a, tile, b.sums_of(2, tile.sequence, block));
}

// Backwards through one sequence's channels of a tile.
template <class T, class G>
void tile_backward(const Backward<T, G>& operands, const ChannelTile& tile) {
  const Backward<T, G> b = operands;
  const std::int64_t channels = b.channels, begin = tile.sequence * b.length;
  Carried decay, carried;  // carried: a[t+1] · g[t+1]
  TimeSums sums;
  log_decays(b.args.a_param, tile, decay);
  start(row_of(b.args.dstate_last, tile.sequence), tile, carried);
  for (std::int64_t block = b.blocks() - 1; block >= 0; --block) {
    clear(tile, sums);
    const std::int64_t end = std::min(b.length, (block + 1) * kSumRows);
    for (std::int64_t t = begin + end - 1; t >= begin + block * kSumRows; --t) {
      const Row<T> row = row_at(b, tile.sequence, t);
      for_vectors(tile.begin, tile.end, [&](std::int64_t c, auto part) {
        const std::int64_t place = c - tile.begin;
        float* const held = carried.values + place;
        // The next row of a tile is elsewhere: the processor's own prefetching does not find it.
        const std::int64_t next = (t - 1) * channels + c;
        hwy::Prefetch(b.dh + next);
        hwy::Prefetch(b.inputs + next);
        hwy::Prefetch(b.i + next);
        hwy::Prefetch(b.r + next);
        hwy::Prefetch(b.states + next - channels);
        const V g = hn::Add(load(b.dh + t * channels + c, part), load(held));
        store(element(b, row, c, part, place, g, load(decay.values + place), sums), held);
      });
    }
    put(b, tile, block, sums);
  }
  if (b.args.dinitial_state)
    finish(carried, tile, b.args.dinitial_state.f32() + tile.sequence * channels);
}

// The same where there are fewer channels than would keep the threads busy: they share blocks of
// time, before and after the recurrence of g, which du holds meanwhile.
template <class T, class G>
void sequence_by_time(const Backward<T, G>& b, std::int64_t sequence) {
  const std::int64_t channels = b.channels, begin = sequence * b.length;
  const std::vector<float> decay = all_log_decays(b.args.a_param);
  std::vector<float> carried(decay.size(), 0.0f);
  if (b.args.dstate_last)
    std::copy_n(row_of(b.args.dstate_last, sequence), channels, carried.data());
  thread_local std::vector<float> memory;
  memory.resize(static_cast<std::size_t>(std::min(b.length, kTimeBlock) * channels));
  const std::int32_t* const position = b.position + begin;
  const auto first = [&](std::int64_t t) { return position[t] == 0; };
  float *const a = memory.data(), *const g = b.du + begin * channels;
  for (std::int64_t low = (b.length - 1) / kTimeBlock * kTimeBlock; low >= 0; low -= kTimeBlock) {
    const std::int64_t high = std::min(low + kTimeBlock, b.length);
    parallel_for(high - low, 16, [&](std::int64_t from, std::int64_t to) {
      for (std::int64_t t = low + from; t < low + to; ++t) {
        for_vectors(0, channels, [&](std::int64_t c, auto part) {
          const std::int64_t at = (begin + t) * channels + c;
          const V log_a = hn::Mul(load(decay.data() + c, part), load(b.r + at, part));
          store(first(t) ? set(0.0f) : decay_of(log_a).a, a + (t - low) * channels + c, part);
        });
      }
    });
    for_channel_tiles(1, channels, lanes(), [&](const ChannelTile& tile) {
      for_vectors(tile.begin, tile.end, [&](std::int64_t c, auto part) {
        V held = load(carried.data() + c, part);
        for (std::int64_t t = high - 1; t >= low; --t) {
          const V own = hn::Add(load(b.dh + (begin + t) * channels + c, part), held);
          store(own, g + t * channels + c, part);
          held = first(t) ? set(0.0f) : hn::Mul(load(a + (t - low) * channels + c, part), own);
        }
        store(held, carried.data() + c, part);
      });
    });
    const std::int64_t first_block = low / kSumRows, last_block = (high - 1) / kSumRows;
    const std::int64_t tiles = (channels + kChannelTile - 1) / kChannelTile;
    parallel_for(
        (last_block - first_block + 1) * tiles, 1, [&](std::int64_t from, std::int64_t to) {
          const Backward<T, G> own = b;
          for (std::int64_t task = from; task < to; ++task) {
            const std::int64_t block = first_block + task / tiles,
                               column = task % tiles * kChannelTile;
            const ChannelTile tile{sequence, column, std::min(column + kChannelTile, channels)};
            TimeSums sums;
            clear(tile, sums);
            const std::int64_t end = std::min(b.length, (block + 1) * kSumRows);
            for (std::int64_t t = end - 1; t >= block * kSumRows; --t) {
              const Row<T> row = row_at(own, sequence, begin + t);
              for_vectors(tile.begin, tile.end, [&](std::int64_t c, auto part) {
                element(own, row, c, part, c - tile.begin, load(g + t * channels + c, part),
                        load(decay.data() + c, part), sums);
              });
            }
            put(own, tile, block, sums);
          }
        });
  }
  if (b.args.dinitial_state)
    std::copy_n(carried.data(), channels, b.args.dinitial_state.f32() + sequence * channels);
}

void RgLruBackwardKernel(const RgLruBackward& args, std::int64_t sequences) {
  const std::int64_t channels = args.u.columns(), length = length_of(args.u, sequences);
  thread_local std::vector<float> memory;
  with_type(args.u, [&](auto* inputs) {
    with_type(args.dgate_x, [&](auto* out_x) {
      using T = std::remove_pointer_t<decltype(inputs)>;
      using G = std::remove_pointer_t<decltype(out_x)>;
      Backward<T, G> b{.args = args,
                       .sequences = sequences,
                       .length = length,
                       .channels = channels,
                       .position = args.positions.as<std::int32_t>(),
                       .dh = args.dh.f32(),
                       .i = args.i.f32(),
                       .r = args.r.f32(),
                       .inputs = inputs,
                       .states = static_cast<const T*>(args.h.data()),
                       .du = args.du.f32(),
                       .out_x = out_x,
                       .out_a = static_cast<G*>(args.dgate_a.data()),
                       .sums = nullptr};
      memory.resize(static_cast<std::size_t>(3 * sequences * b.blocks() * channels));
      b.sums = memory.data();
      if (too_narrow(sequences, channels, lanes(), 3)) {
        for (std::int64_t s = 0; s < sequences; ++s) sequence_by_time(b, s);
      } else {
        for_channel_tiles(sequences, channels, lanes(),
                          [&](const ChannelTile& tile) { tile_backward(b, tile); });
      }
      const std::int64_t rows = sequences * b.blocks();
      for_vectors(0, channels, [&](std::int64_t c, auto part) {
        V totals[3] = {set(0.0f), set(0.0f), set(0.0f)};
        for (std::int64_t which = 0; which < 3; ++which) {
          for (std::int64_t row = 0; row < rows; ++row)
            totals[which] =
                hn::Add(totals[which], load(b.sums + (which * rows + row) * channels + c, part));
        }
        const V dlog_decay = hn::Mul(set(-kRgLruC), sigmoid(load(args.a_param.f32() + c, part)));
        store(totals[0], args.dbias_x.f32() + c, part);
        store(totals[1], args.dbias_a.f32() + c, part);
        store(hn::Mul(totals[2], dlog_decay), args.da_param.f32() + c, part);
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
HWY_EXPORT(RgLruBackwardKernel);
void rg_lru_backward(const RgLruBackward& args, std::int64_t sequences) {
  HWY_DYNAMIC_DISPATCH(RgLruBackwardKernel)(args, sequences);
}

}  // namespace eyrie::tensor::cpu
#endif
