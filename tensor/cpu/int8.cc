// Weights in int8: to and from fp32, the embedding, and products of many rows. (Few rows:
// few_rows.cc.)
#include "tensor/cpu/kernels.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "tensor/cpu/products.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/int8.cc"
#include <hwy/foreach_target.h>
// After foreach_target, which includes this file once per target.
#include "tensor/cpu/dispatch.h"
#include "tensor/cpu/simd-inl.h"
#include "tensor/threads.h"

HWY_BEFORE_NAMESPACE();
namespace eyrie::tensor::cpu {
namespace HWY_NAMESPACE {
namespace {

template <class T>
void dequantize_row(const std::int8_t* q, const float* scales, std::int64_t block,
                    std::int64_t columns, T* to, float gain = 1) {
  for (std::int64_t first = 0; first < columns; first += block) {
    const std::int64_t end = std::min(first + block, columns);
    const V scale = set(scales[first / block] * gain);
    for (std::int64_t c = first; c < end; c += lanes())
      store(hn::Mul(load(q + c, end - c), scale), to + c, end - c);
  }
}

void Dequantize(const Tensor& q, const Tensor& scales, std::int64_t block, const Tensor& to) {
  const auto* in = q.as<std::int8_t>();
  with_type(to, [&](auto* out) {
    parallel_for(q.rows(), 16, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r) {
        dequantize_row(in + r * q.stride(), scales.f32() + r * scales.stride(), block, q.columns(),
                       out + r * to.stride());
      }
    });
  });
}

// One block of a row; returns its scale.
template <class T>
float quantize_block(const T* from, std::int64_t count, std::int8_t* to) {
  constexpr float kMost = 127;
  const hn::Rebind<std::int8_t, F> bytes;
  V largest = set(0.0f);
  for (std::int64_t c = 0; c < count; c += lanes())
    largest = hn::Max(largest, hn::Abs(load(from + c, count - c)));
  const float most = hn::GetLane(hn::MaxOfLanes(kF, largest));
  const V inverse = set(most > 0 ? kMost / most : 0.0f);
  for (std::int64_t c = 0; c < count; c += lanes()) {
    // To nearest, ties to even.
    const auto whole = hn::NearestInt(hn::Mul(load(from + c, count - c), inverse));
    HWY_ALIGN std::int8_t part[kMaxLanes];
    hn::Store(hn::DemoteTo(bytes, whole), bytes, part);
    std::copy_n(part, std::min(lanes(), count - c), to + c);
  }
  return most / kMost;
}

void Quantize(const Tensor& w, std::int64_t block, const Tensor& q, const Tensor& scales) {
  with_type(w, [&](auto* from) {
    parallel_for(w.rows(), 16, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r) {
        for (std::int64_t first = 0; first < w.columns(); first += block) {
          scales.f32()[r * scales.stride() + first / block] =
              quantize_block(from + r * w.stride() + first, std::min(block, w.columns() - first),
                             q.as<std::int8_t>() + r * q.stride() + first);
        }
      }
    });
  });
}

void EmbedInt8(const Tensor& table, const Tensor& scales, std::int64_t block, const Tensor& tokens,
               float scale, const Tensor& out) {
  const auto* rows = table.as<std::int8_t>();
  parallel_for(tokens.count(), 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      const std::int64_t row = tokens.as<std::int32_t>()[t];
      dequantize_row(rows + row * table.stride(), scales.f32() + row * scales.stride(), block,
                     table.columns(), out.f32() + t * out.stride(), scale);
    }
  });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace eyrie::tensor::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace eyrie::tensor::cpu {
HWY_EXPORT(Dequantize);
void dequantize(const Tensor& q, const Tensor& scales, std::int64_t block, const Tensor& to) {
  HWY_DYNAMIC_DISPATCH(Dequantize)(q, scales, block, to);
}

HWY_EXPORT(EmbedInt8);
void embed_int8(const Tensor& table, const Tensor& scales, std::int64_t block, const Tensor& tokens,
                float scale, const Tensor& out) {
  HWY_DYNAMIC_DISPATCH(EmbedInt8)(table, scales, block, tokens, scale, out);
}

HWY_EXPORT(Quantize);
void quantize(const Tensor& w, std::int64_t block, const Tensor& q, const Tensor& scales) {
  HWY_DYNAMIC_DISPATCH(Quantize)(w, block, q, scales);
}

// A tile of outputs at a time, whose weights fit the cache; the tiles depend on nothing but N.
void matmul_int8(const Tensor& x, const Tensor& q, const Tensor& scales, std::int64_t block,
                 const Tensor& out, const Tensor& bias) {
  constexpr std::int64_t kTile = 256;
  const std::int64_t n = q.rows(), k = q.columns();
  if (x.rows() == 0 || n == 0) return;
  parallel_for((n + kTile - 1) / kTile, 1, [&](std::int64_t begin, std::int64_t end) {
    thread_local std::vector<float> memory;
    memory.resize(static_cast<std::size_t>(kTile * k));
    for (std::int64_t first = begin * kTile; first < std::min(end * kTile, n); first += kTile) {
      const std::int64_t count = std::min(kTile, n - first);
      const Tensor weights(memory.data(), x.dtype(), count, k);
      cpu::dequantize(q.row_range(first, count), scales.row_range(first, count), block, weights);
      make_product({x,
                    weights,
                    out.column_range(first, count),
                    {.transpose_b = true},
                    bias ? bias.column_range(first, count) : bias,
                    k});
    }
  });
}

}  // namespace eyrie::tensor::cpu
#endif
