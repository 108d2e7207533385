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

// One tile: queries [begin, begin + count) of a sequence, and the keys [low, high) that any of them
// attends to.
struct Tile {
  std::int64_t begin, count, low, high;
  std::int64_t span() const { return high - low; }
};

Tile tile_at(const AttentionShape& shape, const std::int32_t* first_key, std::int64_t begin) {
  const std::int64_t count = std::min(queries_per_tile(shape), shape.queries - begin);
  const std::int64_t past = shape.keys - shape.queries;
  return {begin, count, first_key[begin], past + begin + count};
}

// Turns one row's scores into probabilities, which are zero outside [from, to). Returns log Σ exp
// of the scaled scores.
template <class T>
float softmax_row(float* scores, std::int64_t from, std::int64_t to, std::int64_t span, float scale,
                  T* out) {
  V most = set(-std::numeric_limits<float>::infinity());
  for (std::int64_t c = from; c < to; c += lanes()) {
    // Values beyond `to` must not be the maximum: a partial vector is filled up with its own first
    // score.
    const std::int64_t part = to - c;
    V v = load(scores + c, part);
    if (part < lanes())
      v = hn::IfThenElse(hn::FirstN(kF, static_cast<std::size_t>(part)), v, set(scores[c]));
    most = hn::Max(most, v);
  }
  const float top = hn::GetLane(hn::MaxOfLanes(kF, most)) * scale;
  V total = set(0.0f);
  for (std::int64_t c = from; c < to; c += lanes()) {
    const std::int64_t part = to - c;
    V e = exponential(hn::MulSub(load(scores + c, part), set(scale), set(top)));
    if (part < lanes()) e = hn::IfThenElseZero(hn::FirstN(kF, static_cast<std::size_t>(part)), e);
    total = hn::Add(total, e);
    store(e, scores + c, part);
  }
  const float all = sum(total);
  const V inverse = set(1.0f / all);
  for (std::int64_t c = from; c < to; c += lanes()) {
    store(hn::Mul(load(scores + c, to - c), inverse), out + c, to - c);
  }
  std::fill(out, out + from, T{});
  std::fill(out + to, out + span, T{});
  return top + std::log(all);
}

void Attention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& first_key,
               const AttentionShape& shape, const Tensor& out, const Tensor& log_sum,
               Arena& scratch) {
  const std::int64_t heads = shape.heads, dim = shape.head_dim, past = shape.keys - shape.queries;
  const float scale = 1.0f / std::sqrt(static_cast<float>(dim));
  const auto* first = first_key.as<std::int32_t>();
  for (std::int64_t s = 0; s < shape.sequences; ++s) {
    for (std::int64_t begin = 0; begin < shape.queries; begin += queries_per_tile(shape)) {
      const Tile tile = tile_at(shape, first + s * shape.queries, begin);
      ArenaScope scope(scratch);
      const std::int64_t row0 = s * shape.queries + begin;
      const Tensor queries = q.row_range(row0, tile.count).reshaped(tile.count * heads, dim);
      const Tensor outs = out.row_range(row0, tile.count).reshaped(tile.count * heads, dim);
      const Tensor keys = k.row_range(s * shape.keys + tile.low, tile.span());
      const Tensor values = v.row_range(s * shape.keys + tile.low, tile.span());
      const TileMemory memory(tile.count * heads, tile.span(), q.dtype(), false, scratch);
      const Tensor &scores = memory.scores, &chances = memory.chances;
      parallel_rows(tile.count * heads, [&](std::int64_t from, std::int64_t to) {
        const std::int64_t rows = to - from;
        cpu::matmul(queries.row_range(from, rows), keys, scores.row_range(from, rows),
                    {.transpose_b = true});
        with_type(chances, [&](auto* p) {
          for (std::int64_t row = from; row < to; ++row) {
            const std::int64_t query = begin + row / heads;
            log_sum.f32()[(s * shape.queries + begin) * heads + row] = softmax_row(
                scores.f32() + row * tile.span(), first[s * shape.queries + query] - tile.low,
                past + query + 1 - tile.low, tile.span(), scale, p + row * tile.span());
          }
        });
        cpu::matmul(chances.row_range(from, rows), values, outs.row_range(from, rows));
      });
    }
  }
}

// Recomputes P from the scores, then dS = P · (dP − Σ dO·O) / √d. Both are rounded to the products'
// dtype.
template <class T>
void gradient_row(const float* scores, const float* dchance, std::int64_t from, std::int64_t to,
                  std::int64_t span, float scale, float log_sum, float delta, T* chance,
                  T* dscore) {
  for (std::int64_t c = from; c < to; c += lanes()) {
    const std::int64_t part = to - c;
    const V p = exponential(hn::MulSub(load(scores + c, part), set(scale), set(log_sum)));
    const V d = hn::Mul(hn::Mul(p, hn::Sub(load(dchance + c, part), set(delta))), set(scale));
    store(d, dscore + c, part);
    store(p, chance + c, part);
  }
  std::fill(chance, chance + from, T{});
  std::fill(chance + to, chance + span, T{});
  std::fill(dscore, dscore + from, T{});
  std::fill(dscore + to, dscore + span, T{});
}

template <class T>
float dot(const T* x, const T* y, std::int64_t count) {
  V total = set(0.0f);
  for (std::int64_t c = 0; c < count; c += lanes())
    total = hn::MulAdd(load(x + c, count - c), load(y + c, count - c), total);
  return sum(total);
}

void AttentionBackward(const Tensor& dout, const Tensor& q, const Tensor& k, const Tensor& v,
                       const Tensor& out, const Tensor& log_sum, const Tensor& first_key,
                       const AttentionShape& shape, const Tensor& dq, const Tensor& dk,
                       const Tensor& dv, Arena& scratch) {
  const std::int64_t heads = shape.heads, dim = shape.head_dim, past = shape.keys - shape.queries;
  const float scale = 1.0f / std::sqrt(static_cast<float>(dim));
  const auto* first = first_key.as<std::int32_t>();
  cpu::zero(dk);
  cpu::zero(dv);
  for (std::int64_t s = 0; s < shape.sequences; ++s) {
    for (std::int64_t begin = 0; begin < shape.queries; begin += queries_per_tile(shape)) {
      const Tile tile = tile_at(shape, first + s * shape.queries, begin);
      ArenaScope scope(scratch);
      const std::int64_t row0 = s * shape.queries + begin, rows_all = tile.count * heads;
      const auto part_of = [&](const Tensor& x) {
        return x.row_range(row0, tile.count).reshaped(rows_all, dim);
      };
      const Tensor queries = part_of(q), outs = part_of(out), douts = part_of(dout),
                   dqueries = part_of(dq);
      const auto span_of = [&](const Tensor& x) {
        return x.row_range(s * shape.keys + tile.low, tile.span());
      };
      const Tensor keys = span_of(k), values = span_of(v), dkeys = span_of(dk),
                   dvalues = span_of(dv);
      const TileMemory memory(rows_all, tile.span(), q.dtype(), true, scratch);
      const Tensor &scores = memory.scores, &dchances = memory.dchances, &chances = memory.chances,
                   &dscores = memory.dscores;
      parallel_rows(rows_all, [&](std::int64_t from, std::int64_t to) {
        const std::int64_t rows = to - from;
        cpu::matmul(queries.row_range(from, rows), keys, scores.row_range(from, rows),
                    {.transpose_b = true});
        cpu::matmul(douts.row_range(from, rows), values, dchances.row_range(from, rows),
                    {.transpose_b = true});
        with_type(chances, [&](auto* p) {
          const auto* o = static_cast<decltype(p)>(outs.data());
          const auto* d = static_cast<decltype(p)>(douts.data());
          auto* ds = static_cast<decltype(p)>(dscores.data());
          for (std::int64_t row = from; row < to; ++row) {
            const std::int64_t query = begin + row / heads;
            gradient_row(scores.f32() + row * tile.span(), dchances.f32() + row * tile.span(),
                         first[s * shape.queries + query] - tile.low, past + query + 1 - tile.low,
                         tile.span(), scale, log_sum.f32()[row0 * heads + row],
                         dot(o + row * dim, d + row * dim, dim), p + row * tile.span(),
                         ds + row * tile.span());
          }
        });
        cpu::matmul(dscores.row_range(from, rows), keys, dqueries.row_range(from, rows));
      });
      // Not split among threads here: matmul() splits it so that the bits do not depend on it.
      const MatmulOptions add{.transpose_a = true, .accumulate = true};
      cpu::matmul(dscores, queries, dkeys, add);
      cpu::matmul(chances, douts, dvalues, add);
    }
  }
}

void Rope(const Tensor& x, const Tensor& cosines, const Tensor& sines, bool inverse,
          const Tensor& y) {
  const std::int64_t pairs = cosines.columns(), dim = 4 * pairs, heads = x.columns() / dim;
  const V sign = set(inverse ? -1.0f : 1.0f);
  with_type(x, [&](auto* from) {
    with_type(y, [&](auto* to) {
      parallel_for(x.rows(), 16, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t r = begin; r < end; ++r) {
          for (std::int64_t head = 0; head < heads; ++head) {
            const auto* in = from + r * x.stride() + head * dim;
            auto* out = to + r * y.stride() + head * dim;
            for (std::int64_t j = 0; j < pairs; j += lanes()) {
              const std::int64_t part = pairs - j;
              const V cosine = load(cosines.f32() + r * pairs + j, part);
              const V sine = hn::Mul(load(sines.f32() + r * pairs + j, part), sign);
              const V a = load(in + j, part), b = load(in + pairs + j, part);
              store(hn::NegMulAdd(b, sine, hn::Mul(a, cosine)), out + j, part);
              store(hn::MulAdd(a, sine, hn::Mul(b, cosine)), out + pairs + j, part);
            }
            for (std::int64_t j = 2 * pairs; j < dim; j += lanes())
              store(load(in + j, dim - j), out + j, dim - j);
          }
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
HWY_EXPORT(Rope);
void rope(const Tensor& x, const Tensor& cosines, const Tensor& sines, bool inverse,
          const Tensor& y) {
  HWY_DYNAMIC_DISPATCH(Rope)(x, cosines, sines, inverse, y);
}

void rope_angles(const Tensor& positions, std::int64_t head_dim, const Tensor& cosines,
                 const Tensor& sines) {
  const std::int64_t pairs = head_dim / 4;
  std::vector<double> frequency;
  for (std::int64_t j = 0; j < pairs; ++j) {
    frequency.push_back(
        std::pow(10000.0, -4.0 * static_cast<double>(j) / static_cast<double>(head_dim)));
  }
  parallel_for(positions.count(), 64, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      for (std::int64_t j = 0; j < pairs; ++j) {
        const double angle =
            positions.as<std::int32_t>()[t] * frequency[static_cast<std::size_t>(j)];
        cosines.f32()[t * pairs + j] = static_cast<float>(std::cos(angle));
        sines.f32()[t * pairs + j] = static_cast<float>(std::sin(angle));
      }
    }
  });
}

}  // namespace eyrie::tensor::cpu
#endif
