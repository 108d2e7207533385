// What the RG-LRU's kernels share: decays, and what a tile of channels carries along time. Included
// once per SIMD target.
#if defined(EYRIE_TENSOR_CPU_RG_LRU_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef EYRIE_TENSOR_CPU_RG_LRU_INL_H
#undef EYRIE_TENSOR_CPU_RG_LRU_INL_H
#else
#define EYRIE_TENSOR_CPU_RG_LRU_INL_H
#endif

#include <algorithm>
#include <cstdint>
#include <vector>

#include "tensor/cpu/channel_tiles.h"
#include "tensor/cpu/simd-inl.h"
#include "tensor/ops/rg_lru.h"

HWY_BEFORE_NAMESPACE();
namespace eyrie::tensor::cpu {
namespace HWY_NAMESPACE {

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

inline void log_decays(const Tensor& a_param, const ChannelTile& tile, Carried& decay) {
  for_vectors(tile.begin, tile.end, [&](std::int64_t c, auto part) {
    store(log_decay(load(a_param.f32() + c, part)), decay.values + c - tile.begin);
  });
}

// row (1, R), or zeros if it is empty.
inline void start(const float* row, const ChannelTile& tile, Carried& carried,
                  float otherwise = 0.0f) {
  for_vectors(tile.begin, tile.end, [&](std::int64_t c, auto part) {
    store(row ? load(row + c, part) : set(otherwise), carried.values + c - tile.begin);
  });
}

inline void finish(const Carried& carried, const ChannelTile& tile, float* row) {
  for_vectors(tile.begin, tile.end, [&](std::int64_t c, auto part) {
    store(load(carried.values + c - tile.begin), row + c, part);
  });
}

inline const float* row_of(const Tensor& x, std::int64_t row) {
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

inline std::int64_t length_of(const Tensor& x, std::int64_t sequences) {
  return x.rows() / std::max<std::int64_t>(sequences, 1);
}

// So many tokens are shared out among the threads at a time where channels are too few for them.
constexpr std::int64_t kTimeBlock = 2048;

inline std::vector<float> all_log_decays(const Tensor& a_param) {
  std::vector<float> decays(static_cast<std::size_t>(a_param.columns()));
  for_vectors(0, a_param.columns(), [&](std::int64_t c, auto part) {
    store(log_decay(load(a_param.f32() + c, part)), decays.data() + c, part);
  });
  return decays;
}

}  // namespace HWY_NAMESPACE
}  // namespace eyrie::tensor::cpu
HWY_AFTER_NAMESPACE();
#endif
