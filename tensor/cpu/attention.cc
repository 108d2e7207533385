// Local multi-query attention in tiles of queries: all heads of a tile share its keys in one
// product.
#include "tensor/cpu/kernels.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "tensor/cpu/attention_tiles.h"
#include "tensor/cpu/products.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/attention.cc"
#include <hwy/foreach_target.h>
// After foreach_target, which includes this file once per target.
#include "tensor/cpu/dispatch.h"
#include "tensor/cpu/simd-inl.h"
#include "tensor/threads.h"

HWY_BEFORE_NAMESPACE();
namespace eyrie::tensor::cpu {
namespace HWY_NAMESPACE {
namespace {

// out = op(a) · op(b), by one thread.
void multiply(const Tensor& a, const Tensor& b, const Tensor& out, MatmulOptions options = {}) {
  make_product({a, b, out, options, {}, options.transpose_a ? a.rows() : a.columns()});
}

// Turns one row's scores into probabilities times `total`, which are zero outside [from, to).
// Returns log Σ exp of the scaled scores.
template <class T>
float softmax_row(const float* scores, std::int64_t from, std::int64_t to, std::int64_t span,
                  float scale, T* out, float& total) {
  V most = set(-std::numeric_limits<float>::infinity());
  for_vectors(from, to, [&](std::int64_t c, auto part) {
    // Values beyond `to` must not be the maximum: a partial vector is filled up with its own first
    // score.
    V v = load(scores + c, part);
    if (part < lanes())
      v = hn::IfThenElse(hn::FirstN(kF, static_cast<std::size_t>(part)), v, set(scores[c]));
    most = hn::Max(most, v);
  });
  const float top = hn::GetLane(hn::MaxOfLanes(kF, most)) * scale;
  V parts = set(0.0f);
  for_vectors(from, to, [&](std::int64_t c, auto part) {
    V e = exponential(hn::MulSub(load(scores + c, part), set(scale), set(top)));
    if (part < lanes()) e = hn::IfThenElseZero(hn::FirstN(kF, static_cast<std::size_t>(part)), e);
    parts = hn::Add(parts, e);
    store(e, out + c, part);
  });
  std::fill(out, out + from, T{});
  std::fill(out + to, out + span, T{});
  total = sum(parts);
  return top + std::log(total);
}

std::int64_t most_keys(const std::vector<QueryRange>& tasks) {
  std::int64_t most = 0;
  for (const QueryRange& task : tasks) most = std::max(most, task.span());
  return most;
}

void Attention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& first_key,
               const AttentionShape& shape, const Tensor& out, const Tensor& log_sum,
               Arena& scratch) {
  const std::int64_t heads = shape.heads, dim = shape.head_dim, past = shape.keys - shape.queries;
  const float scale = 1.0f / std::sqrt(static_cast<float>(dim));
  const auto* first = first_key.as<std::int32_t>();
  const auto tiles = all_tasks(shape, false, first);
  ArenaScope scope(scratch);
  const auto memories =
      tile_memories(shape, std::ssize(tiles), most_keys(tiles), q.dtype(), false, scratch);
  parallel_tasks(std::ssize(tiles), [&](std::int64_t task, int thread) {
    const QueryRange& tile = tiles[static_cast<std::size_t>(task)];
    const std::int64_t rows = tile.count * heads, span = tile.span();
    const std::int64_t row0 = tile.sequence * shape.queries + tile.begin;
    const Tensor keys = k.row_range(tile.sequence * shape.keys + tile.low, span);
    const Tensor values = v.row_range(tile.sequence * shape.keys + tile.low, span);
    const TileMemory memory = memories[static_cast<std::size_t>(thread)].part(rows, span);
    multiply(q.row_range(row0, tile.count).reshaped(rows, dim), keys, memory.scores,
             {.transpose_b = true});
    with_type(memory.chances, [&](auto* p) {
      for (std::int64_t row = 0; row < rows; ++row) {
        const std::int64_t query = row / heads;
        float total = 0;
        log_sum.f32()[row0 * heads + row] = softmax_row(
            memory.scores.f32() + row * span, first[row0 + query] - tile.low,
            past + tile.begin + query + 1 - tile.low, span, scale, p + row * span, total);
        memory.of_rows.f32()[row] = 1 / total;
      }
    });
    const Tensor sums = memory.sums.row_range(0, rows);
    multiply(memory.chances, values, sums);
    with_type(out, [&](auto* o) {
      for (std::int64_t row = 0; row < rows; ++row) {
        const V inverse = set(memory.of_rows.f32()[row]);
        for_vectors(0, dim, [&](std::int64_t c, auto part) {
          store(hn::Mul(load(sums.f32() + row * dim + c, part), inverse),
                o + (row0 * heads + row) * dim + c, part);
        });
      }
    });
  });
}

// Recomputes P from the scores, then dS = P · (dP − Σ dO·O) / √d. Both are rounded to the products'
// dtype.
template <class T>
void gradient_row(const float* scores, const float* dchance, std::int64_t from, std::int64_t to,
                  std::int64_t span, float scale, float log_sum, float delta, T* chance,
                  T* dscore) {
  for_vectors(from, to, [&](std::int64_t c, auto part) {
    const V p = exponential(hn::MulSub(load(scores + c, part), set(scale), set(log_sum)));
    const V d = hn::Mul(hn::Mul(p, hn::Sub(load(dchance + c, part), set(delta))), set(scale));
    store(d, dscore + c, part);
    store(p, chance + c, part);
  });
  std::fill(chance, chance + from, T{});
  std::fill(chance + to, chance + span, T{});
  std::fill(dscore, dscore + from, T{});
  std::fill(dscore + to, dscore + span, T{});
}

template <class T>
float dot(const T* x, const T* y, std::int64_t count) {
  V total = set(0.0f);
  for_vectors(0, count, [&](std::int64_t c, auto part) {
    total = hn::MulAdd(load(x + c, part), load(y + c, part), total);
  });
  return sum(total);
}

// What the backward pass reads and writes.
struct Backward {
  Tensor dout, q, k, v, out, log_sum, first_key;
  AttentionShape shape;
  Tensor dq;

  // The rows of one tile: (queries · heads, head_dim).
  Tensor rows(const Tensor& x, const QueryRange& tile) const {
    return x.row_range(tile.sequence * shape.queries + tile.begin, tile.count)
        .reshaped(tile.count * shape.heads, shape.head_dim);
  }
  Tensor keys(const Tensor& x, const QueryRange& tile) const {
    return x.row_range(tile.sequence * shape.keys + tile.low, tile.span());
  }
};

// One tile: its dq, and its part of the gradients of keys and values, which is added.
void tile_backward(const Backward& all, const QueryRange& tile, const TileMemory& memory,
                   const KeyGradients& gradients) {
  const AttentionShape& shape = all.shape;
  const std::int64_t heads = shape.heads, dim = shape.head_dim, rows = tile.count * heads,
                     row0 = tile.sequence * shape.queries + tile.begin,
                     past = shape.keys - shape.queries;
  const float scale = 1.0f / std::sqrt(static_cast<float>(dim));
  const auto* first = all.first_key.as<std::int32_t>();
  const Tensor queries = all.rows(all.q, tile), douts = all.rows(all.dout, tile),
               dqueries = all.rows(all.dq, tile), keys = all.keys(all.k, tile),
               values = all.keys(all.v, tile), outs = all.rows(all.out, tile);
  with_type(outs, [&](auto* o) {
    const auto* d = static_cast<decltype(o)>(douts.data());
    for (std::int64_t row = 0; row < rows; ++row)
      memory.of_rows.f32()[row] = dot(o + row * dim, d + row * dim, dim);
  });
  for (std::int64_t begin = 0; begin < tile.span(); begin += kKeyBlock) {
    const std::int64_t span = std::min(kKeyBlock, tile.span() - begin), low = tile.low + begin;
    const Tensor some = keys.row_range(begin, span);
    const TileMemory block = memory.part(rows, span);
    multiply(queries, some, block.scores, {.transpose_b = true});
    multiply(douts, values.row_range(begin, span), block.dchances, {.transpose_b = true});
    with_type(block.chances, [&](auto* p) {
      auto* ds = static_cast<decltype(p)>(block.dscores.data());
      for (std::int64_t row = 0; row < rows; ++row) {
        const std::int64_t query = row / heads;
        const std::int64_t from = std::clamp<std::int64_t>(first[row0 + query] - low, 0, span);
        const std::int64_t to = std::clamp(past + tile.begin + query + 1 - low, from, span);
        gradient_row(block.scores.f32() + row * span, block.dchances.f32() + row * span, from, to,
                     span, scale, all.log_sum.f32()[row0 * heads + row], memory.of_rows.f32()[row],
                     p + row * span, ds + row * span);
      }
    });
    const MatmulOptions add{.transpose_a = true, .accumulate = true};
    multiply(block.dscores, some, dqueries, {.accumulate = begin > 0});
    multiply(block.dscores, queries, gradients.dk.row_range(begin, span), add);
    multiply(block.chances, douts, gradients.dv.row_range(begin, span), add);
  }
}

// Adds to dk and dv what the groups of each sequence computed, from the last group to the first.
void add_groups(const std::vector<QueryRange>& groups, const std::vector<KeyGradients>& parts,
                const AttentionShape& shape, const Tensor& dk, const Tensor& dv) {
  constexpr std::int64_t kRows = 64;
  const std::int64_t blocks = (shape.keys + kRows - 1) / kRows;
  parallel_for(shape.sequences * blocks, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t block = begin; block < end; ++block) {
      const std::int64_t s = block / blocks, row = block % blocks * kRows,
                         end_row = std::min(row + kRows, shape.keys);
      // all_tasks() lists the groups by their place in the sequence, of every sequence in turn.
      for (auto i = static_cast<std::size_t>(s); i < groups.size();
           i += static_cast<std::size_t>(shape.sequences)) {
        const std::int64_t low = std::max(row, groups[i].low),
                           count = std::min(end_row, groups[i].high) - low;
        if (count <= 0) continue;
        const KeyGradients part = parts[i].rows(low - groups[i].low, count);
        cpu::add(part.dk, dk.row_range(s * shape.keys + low, count));
        cpu::add(part.dv, dv.row_range(s * shape.keys + low, count));
      }
    }
  });
}

void AttentionBackward(const Tensor& dout, const Tensor& q, const Tensor& k, const Tensor& v,
                       const Tensor& out, const Tensor& log_sum, const Tensor& first_key,
                       const AttentionShape& shape, const Tensor& dq, const Tensor& dk,
                       const Tensor& dv, Arena& scratch) {
  const Backward all{dout, q, k, v, out, log_sum, first_key, shape, dq};
  const auto* first = first_key.as<std::int32_t>();
  ArenaScope scope(scratch);
  const auto groups = all_tasks(shape, true, first);
  const bool one_each = std::ssize(groups) == shape.sequences;  // group per sequence
  std::int64_t all_keys = 0;
  for (const QueryRange& group : groups) all_keys += group.span();
  const KeyGradients whole{dk, dv},
      apart = one_each ? KeyGradients() : group_gradients(shape, all_keys, scratch);
  std::vector<KeyGradients> parts;
  for (std::int64_t done = 0; const QueryRange& group : groups) {
    parts.push_back(one_each ? whole.rows(group.sequence * shape.keys + group.low, group.span())
                             : apart.rows(done, group.span()));
    done += group.span();
  }
  const auto memories =
      tile_memories(shape, std::ssize(groups), most_keys(groups), q.dtype(), true, scratch);
  cpu::zero(dk);
  cpu::zero(dv);
  parallel_tasks(std::ssize(groups), [&](std::int64_t task, int thread) {
    const QueryRange& group = groups[static_cast<std::size_t>(task)];
    const KeyGradients& part = parts[static_cast<std::size_t>(task)];
    cpu::zero(part.dk);
    cpu::zero(part.dv);
    const std::int64_t end = group.begin + group.count;
    for (std::int64_t begin = group.begin; begin < end; begin += queries_per_tile(shape)) {
      const QueryRange tile = task_at(shape, false, group.sequence, begin,
                                      first[group.sequence * shape.queries + begin]);
      tile_backward(all, tile, memories[static_cast<std::size_t>(thread)],
                    part.rows(tile.low - group.low, tile.span()));
    }
  });
  if (!one_each) add_groups(groups, parts, shape, dk, dv);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace eyrie::tensor::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace eyrie::tensor::cpu {
HWY_EXPORT(Attention);
void attention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& first_key,
               const AttentionShape& shape, const Tensor& out, const Tensor& log_sum,
               Arena& scratch) {
  HWY_DYNAMIC_DISPATCH(Attention)(q, k, v, first_key, shape, out, log_sum, scratch);
}
HWY_EXPORT(AttentionBackward);
void attention_backward(const Tensor& dout, const Tensor& q, const Tensor& k, const Tensor& v,
                        const Tensor& out, const Tensor& log_sum, const Tensor& first_key,
                        const AttentionShape& shape, const Tensor& dq, const Tensor& dk,
                        const Tensor& dv, Arena& scratch) {
  HWY_DYNAMIC_DISPATCH(AttentionBackward)
  (dout, q, k, v, out, log_sum, first_key, shape, dq, dk, dv, scratch);
}
}  // namespace eyrie::tensor::cpu
#endif
