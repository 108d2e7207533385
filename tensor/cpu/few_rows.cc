// Products of few rows: each thread owns output columns.
#include "tensor/cpu/kernels.h"

#include <algorithm>
#include <cmath>
#include <vector>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/few_rows.cc"
#include <hwy/foreach_target.h>
// After foreach_target, which includes this file once per target.
#include "tensor/cpu/avx512_dots.h"
#include "tensor/cpu/dispatch.h"
#include "tensor/cpu/few_rows-inl.h"
#include "tensor/threads.h"

HWY_BEFORE_NAMESPACE();
namespace eyrie::tensor::cpu {
namespace HWY_NAMESPACE {
namespace {

// Output columns are split among threads in multiples of this: whole cache lines of any dtype.
constexpr std::int64_t kColumnTile = 32;

void put_element(const Tensor& out, std::int64_t row, std::int64_t column, float value) {
  const std::int64_t at = row * out.stride() + column;
  if (out.dtype() == DType::kFloat32) {
    out.f32()[at] = value;
  } else {
    out.as<BFloat16>()[at] = to_bfloat16(value);
  }
}

// Computes columns [begin, end) of one product; x is widened to fp32.
void product_part(const FewRowsProduct& p, const float* x, std::int64_t x_stride,
                  std::int64_t begin, std::int64_t end) {
  const std::int64_t rows = p.x.rows(), k = p.x.columns(), columns = end - begin;
  const float* bias = p.bias ? p.bias.f32() + begin : nullptr;
  if (p.w.dtype() == DType::kInt8) {
    const std::int64_t per_row = p.scales.stride();
    return int8_dot_products(x, rows, x_stride, p.w.as<std::int8_t>() + begin * p.w.stride(),
                             p.w.stride(), p.scales.f32() + begin * per_row, per_row, p.block, k,
                             columns, [&](std::int64_t m, std::int64_t n, float value) {
                               put_element(p.out, m, begin + n, bias ? value + bias[n] : value);
                             });
  }
  with_type(p.w, [&](auto* w) {
    if (p.transposed) {
      dot_products(x, rows, x_stride, w + begin * p.w.stride(), p.w.stride(), k, columns,
                   [&](std::int64_t m, std::int64_t n, float value) {
                     put_element(p.out, m, begin + n, bias ? value + bias[n] : value);
                   });
    } else {
      with_type(p.out, [&](auto* out) {
        row_sums(x, rows, x_stride, w + begin, p.w.stride(), k, columns,
                 [&](std::int64_t m, std::int64_t c, V value, std::int64_t part) {
                   if (bias) value = hn::Add(value, load(bias + c, part));
                   store(value, out + m * p.out.stride() + begin + c, part);
                 });
      });
    }
  });
}

// Whether to use the hand-written kernels: the processor has AVX-512 and Highway's target for it is
// in use.
inline bool by_avx512(const FewRowsProduct& p) {
#if HWY_TARGET <= HWY_AVX3 && defined(__x86_64__)
  if (p.w.dtype() == DType::kInt8) return p.x.dtype() == DType::kBFloat16 && kHasAvx512Bf16;
  return p.transposed && p.x.dtype() == p.w.dtype() && has_avx512_dots(p.w.dtype());
#else
  (void)p;
  return false;
#endif
}

void avx512_part(const FewRowsProduct& p, std::int64_t begin, std::int64_t end,
                 std::vector<float>& sums) {
  const std::int64_t rows = p.x.rows(), k = p.x.columns(), w_stride = p.w.stride();
  sums.resize(static_cast<std::size_t>(rows * kColumnTile));
  with_type(p.x, [&](auto* x) {
    with_type(p.out, [&](auto* out) {
      for (std::int64_t n = begin; n < end; n += kColumnTile) {
        const std::int64_t count = std::min(kColumnTile, end - n);
        if (p.w.dtype() == DType::kInt8) {
          const std::int64_t blocks = p.scales.columns();
          avx512_int8_dots(p.x.as<BFloat16>(), rows, p.x.stride(),
                           p.w.as<std::int8_t>() + n * w_stride, w_stride,
                           p.scales.f32() + n * blocks, blocks, p.block, k, count, sums.data(),
                           kColumnTile);
        } else {
          const auto* w = static_cast<decltype(x)>(p.w.data());
          avx512_dots(x, rows, p.x.stride(), w + n * w_stride, w_stride, k, count, sums.data(),
                      kColumnTile);
        }
        for (std::int64_t m = 0; m < rows; ++m) {
          for (std::int64_t c = 0; c < count; c += lanes()) {
            V value = load(sums.data() + m * kColumnTile + c, count - c);
            if (p.bias) value = hn::Add(value, load(p.bias.f32() + n + c, count - c));
            store(value, out + m * p.out.stride() + n + c, count - c);
          }
        }
      }
    });
  });
}

void FewRows(std::span<const FewRowsProduct> products) {
  std::vector<std::int64_t> first_tile = {0};
  for (const FewRowsProduct& p : products)
    first_tile.push_back(first_tile.back() + (p.out.columns() + kColumnTile - 1) / kColumnTile);
  parallel_for(first_tile.back(), 4, [&](std::int64_t begin, std::int64_t end) {
    thread_local std::vector<float> widened, sums;  // x as fp32
    const void* held = nullptr;
    std::int64_t held_columns = 0;
    for (std::size_t i = 0; i < products.size(); ++i) {
      const FewRowsProduct& p = products[i];
      const std::int64_t from = (std::max(begin, first_tile[i]) - first_tile[i]) * kColumnTile;
      const std::int64_t to = std::min(
          (std::min(end, first_tile[i + 1]) - first_tile[i]) * kColumnTile, p.out.columns());
      if (from >= to) continue;
      if (by_avx512(p)) {
        avx512_part(p, from, to, sums);
        continue;
      }
      if (p.x.dtype() == DType::kFloat32) {
        product_part(p, p.x.f32(), p.x.stride(), from, to);
        continue;
      }
      const std::int64_t rows = p.x.rows(), k = p.x.columns();
      if (held != p.x.data() || held_columns != k) {  // all products have the same row count
        widened.resize(static_cast<std::size_t>(rows * k));
        for (std::int64_t r = 0; r < rows; ++r) {
          const BFloat16* in = p.x.as<BFloat16>() + r * p.x.stride();
          for (std::int64_t c = 0; c < k; c += lanes())
            store(load(in + c, k - c), widened.data() + r * k + c, k - c);
        }
        held = p.x.data();
        held_columns = k;
      }
      product_part(p, widened.data(), k, from, to);
    }
  });
}

// Softmax of scores [0, count) times `scale`, in place.
void softmax(float* scores, std::int64_t count, float scale) {
  float top = scores[0];
  for (std::int64_t c = 1; c < count; ++c) top = std::max(top, scores[c]);
  V total = set(0.0f);
  for (std::int64_t c = 0; c < count; c += lanes()) {
    const std::int64_t part = count - c;
    V e = exponential(hn::Mul(hn::Sub(load(scores + c, part), set(top)), set(scale)));
    if (part < lanes()) e = hn::IfThenElseZero(hn::FirstN(kF, static_cast<std::size_t>(part)), e);
    total = hn::Add(total, e);
    store(e, scores + c, part);
  }
  const V inverse = set(1.0f / sum(total));
  for (std::int64_t c = 0; c < count; c += lanes())
    store(hn::Mul(load(scores + c, count - c), inverse), scores + c, count - c);
}

// Attention for heads [begin, end) of one sequence. Keys are read in slot order: from the oldest
// that is attended to up to the ring's end, then from its beginning.
template <class T>
void attend(const T* q, const KeyRing& ring, std::int64_t dim, std::int64_t begin, std::int64_t end,
            T* out, std::vector<float>& memory) {
  const std::int64_t heads = end - begin, keys = ring.seen + 1;
  memory.resize(static_cast<std::size_t>(heads * (keys + 2 * dim)));
  float* queries = memory.data();
  float* sums = queries + heads * dim;
  float* scores = sums + heads * dim;
  for (std::int64_t i = 0; i < heads * dim; i += lanes())
    store(load(q + begin * dim + i, heads * dim - i), queries + i, heads * dim - i);
  const std::int64_t oldest = (ring.newest - ring.seen) % ring.slots();
  const std::int64_t first = std::min(keys, ring.slots() - oldest);
  const auto* k = static_cast<const T*>(ring.keys.data());
  const auto* v = static_cast<const T*>(ring.values.data());
  const auto score = [&](std::int64_t slot, std::int64_t count, std::int64_t place) {
    dot_products(
        queries, heads, dim, k + slot * dim, dim, dim, count,
        [&](std::int64_t m, std::int64_t n, float value) { scores[m * keys + place + n] = value; });
  };
  score(oldest, first, 0);
  score(0, keys - first, first);
  const float scale = 1.0f / std::sqrt(static_cast<float>(dim));
  for (std::int64_t m = 0; m < heads; ++m) softmax(scores + m * keys, keys, scale);
  row_sums(scores, heads, keys, v + oldest * dim, dim, first, dim,
           [&](std::int64_t m, std::int64_t c, V value, std::int64_t part) {
             store(value, sums + m * dim + c, part);
           });
  if (first < keys) {
    row_sums(scores + first, heads, keys, v, dim, keys - first, dim,
             [&](std::int64_t m, std::int64_t c, V value, std::int64_t part) {
               float* at = sums + m * dim + c;
               store(hn::Add(load(at, part), value), at, part);
             });
  }
  for (std::int64_t i = 0; i < heads * dim; i += lanes())
    store(load(sums + i, heads * dim - i), out + begin * dim + i, heads * dim - i);
}

void AttentionStep(const Tensor& q, std::span<const KeyRing> rings, std::int64_t heads,
                   const Tensor& out) {
  const std::int64_t dim = q.columns() / heads, sequences = q.rows();
  // The heads of a sequence are split only if there are fewer sequences than threads.
  const std::int64_t groups = std::clamp<std::int64_t>(
      (thread_count() + sequences - 1) / std::max<std::int64_t>(sequences, 1), 1, heads);
  with_type(q, [&](auto* queries) {
    auto* outs = static_cast<decltype(queries)>(out.data());
    parallel_for(sequences * groups, 1, [&](std::int64_t begin, std::int64_t end) {
      thread_local std::vector<float> memory;
      for (std::int64_t task = begin; task < end; ++task) {
        const std::int64_t s = task / groups, g = task % groups;
        attend(queries + s * q.stride(), rings[static_cast<std::size_t>(s)], dim,
               heads * g / groups, heads * (g + 1) / groups, outs + s * out.stride(), memory);
      }
    });
  });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace eyrie::tensor::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace eyrie::tensor::cpu {
HWY_EXPORT(FewRows);
void few_rows(std::span<const FewRowsProduct> products) { HWY_DYNAMIC_DISPATCH(FewRows)(products); }
HWY_EXPORT(AttentionStep);
void attention_step(const Tensor& q, std::span<const KeyRing> rings, std::int64_t heads,
                    const Tensor& out) {
  HWY_DYNAMIC_DISPATCH(AttentionStep)(q, rings, heads, out);
}

}  // namespace eyrie::tensor::cpu
#endif
