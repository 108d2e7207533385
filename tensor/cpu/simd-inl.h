// Loads and stores of fp32 and bf16 as fp32 vectors, whole or partial, and functions that several
// kernels share. Included once per SIMD target, inside Highway's foreach_target.
#if defined(EYRIE_TENSOR_CPU_SIMD_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef EYRIE_TENSOR_CPU_SIMD_INL_H
#undef EYRIE_TENSOR_CPU_SIMD_INL_H
#else
#define EYRIE_TENSOR_CPU_SIMD_INL_H
#endif

#include <hwy/highway.h>

#include <cstring>

#include "hwy/contrib/math/math-inl.h"
#include "tensor/dtype.h"

HWY_BEFORE_NAMESPACE();
namespace eyrie::tensor::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using F = hn::ScalableTag<float>;
using V = hn::Vec<F>;
constexpr F kF{};
constexpr std::size_t kMaxLanes = hn::MaxLanes(F());

HWY_INLINE std::int64_t lanes() { return static_cast<std::int64_t>(hn::Lanes(kF)); }

HWY_INLINE V load(const float* p) { return hn::LoadU(kF, p); }
HWY_INLINE void store(V v, float* p) { hn::StoreU(v, kF, p); }

HWY_INLINE V load(const BFloat16* p) {
  const hn::RebindToUnsigned<F> d32;
  const hn::Rebind<std::uint16_t, F> d16;
  const auto half = hn::LoadU(d16, reinterpret_cast<const std::uint16_t*>(p));
  return hn::BitCast(kF, hn::ShiftLeft<16>(hn::PromoteTo(d32, half)));
}

// Rounds to nearest even and keeps NaN, as to_bfloat16.
HWY_INLINE void store(V v, BFloat16* p) {
  const hn::RebindToUnsigned<F> d32;
  const hn::Rebind<std::uint16_t, F> d16;
  const auto bits = hn::BitCast(d32, v);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(d32, 1u));
  const auto rounded = hn::Add(bits, hn::Add(odd, hn::Set(d32, 0x7fffu)));
  const auto quiet = hn::Or(bits, hn::Set(d32, 0x400000u));
  const auto kept = hn::IfThenElse(hn::RebindMask(d32, hn::IsNaN(v)), quiet, rounded);
  const auto half = hn::TruncateTo(d16, hn::ShiftRight<16>(kept));
  hn::StoreU(half, d16, reinterpret_cast<std::uint16_t*>(p));
}

// Partial vectors of `count` lanes (1 … lanes()). The other lanes are zero and go through the same
// arithmetic as in whole vectors.
template <class T>
HWY_INLINE V load(const T* p, std::int64_t count) {
  if (HWY_LIKELY(count >= lanes())) return load(p);
  HWY_ALIGN T part[kMaxLanes] = {};
  std::memcpy(part, p, static_cast<std::size_t>(count) * sizeof(T));
  return load(part);
}
template <class T>
HWY_INLINE void store(V v, T* p, std::int64_t count) {
  if (HWY_LIKELY(count >= lanes())) return store(v, p);
  HWY_ALIGN T part[kMaxLanes];
  store(v, part);
  std::memcpy(p, part, static_cast<std::size_t>(count) * sizeof(T));
}

HWY_INLINE V set(float value) { return hn::Set(kF, value); }
HWY_INLINE float sum(V v) { return hn::GetLane(hn::SumOfLanes(kF, v)); }

// Highway's Exp turns NaN into 0; NaN must be kept, or a broken step would go unnoticed.
HWY_INLINE V exponential(V x) { return hn::IfThenElse(hn::IsNaN(x), x, hn::Exp(kF, x)); }

HWY_INLINE V sigmoid(V x) {
  // Beyond ±88, e^−x leaves the range of fp32; sigmoid reaches its limits long before. This order
  // of arguments keeps NaN.
  const V clamped = hn::Max(set(-88.0f), hn::Min(set(88.0f), x));
  return hn::Div(set(1.0f), hn::Add(set(1.0f), exponential(hn::Neg(clamped))));
}

// gelu_tanh and its derivative; the caller ignores what it does not need.
struct Gelu {
  V value, derivative;
};
HWY_INLINE Gelu gelu(V x) {
  const V square = hn::Mul(x, x);
  const V inner = hn::Mul(
      x, hn::MulAdd(square, set(2.0f * 0.7978845608f * 0.044715f), set(2.0f * 0.7978845608f)));
  const V s = sigmoid(inner);
  const V dinner =
      hn::MulAdd(square, set(6.0f * 0.7978845608f * 0.044715f), set(2.0f * 0.7978845608f));
  const V slope = hn::Mul(hn::Mul(x, dinner), hn::Mul(s, hn::Sub(set(1.0f), s)));
  return {hn::Mul(x, s), hn::Add(s, slope)};
}

}  // namespace HWY_NAMESPACE
}  // namespace eyrie::tensor::cpu
HWY_AFTER_NAMESPACE();
#endif
