// Loads and stores of fp32 and bf16 as fp32 vectors, whole or partial, and functions that several
// kernels share. Included once per SIMD target, inside Highway's foreach_target.
#if defined(EYRIE_TENSOR_CPU_SIMD_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef EYRIE_TENSOR_CPU_SIMD_INL_H
#undef EYRIE_TENSOR_CPU_SIMD_INL_H
#else
#define EYRIE_TENSOR_CPU_SIMD_INL_H
#endif

#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <cstring>

#include "hwy/contrib/math/math-inl.h"
#include "tensor/cpu/avx512_dots.h"
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

HWY_INLINE V load(const std::int8_t* p) {
  const hn::RebindToSigned<F> d32;
  const hn::Rebind<std::int8_t, F> d8;
  return hn::ConvertTo(kF, hn::PromoteTo(d32, hn::LoadU(d8, p)));
}

// Rounds to nearest even and keeps NaN, as to_bfloat16. Highway has no name for the instruction of
// AVX-512 BF16 that does it, for all but denormal numbers.
HWY_INLINE void store(V v, BFloat16* p) {
#if HWY_TARGET <= HWY_AVX3 && HWY_ARCH_X86_64
  constexpr int kDenormal = 0x20;
  if (kHasAvx512Bf16 && _mm512_fpclass_ps_mask(v.raw, kDenormal) == 0) {
    __m256i half;
    asm("vcvtneps2bf16 %1, %0" : "=v"(half) : "v"(v.raw));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), half);
    return;
  }
#endif
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

// A count that is that of all lanes: known to the compiler.
struct Whole {
  HWY_INLINE operator std::int64_t() const { return lanes(); }
};
template <class T>
HWY_INLINE V load(const T* p, Whole) {
  return load(p);
}
template <class T>
HWY_INLINE void store(V v, T* p, Whole) {
  store(v, p);
}

// Calls body(c, part) for each vector of [begin, end), of which `part` lanes exist. Whole vectors
// have a loop of their own, with part a Whole: the path of a partial one, which calls a function,
// would cost the registers of every round.
template <class Body>
HWY_INLINE void for_vectors(std::int64_t begin, std::int64_t end, const Body& body) {
  std::int64_t c = begin;
  for (; c + lanes() <= end; c += lanes()) body(c, Whole{});
  if (c < end) body(c, end - c);
}

HWY_INLINE V set(float value) { return hn::Set(kF, value); }
HWY_INLINE float sum(V v) { return hn::GetLane(hn::SumOfLanes(kF, v)); }

// 1/x and 1/√x for x in the range of normal numbers, right to 1e-7 of the result: the processor's
// estimate and one step, which takes the square of its error, and below AVX-512, where estimates
// have 12 bits and differ between processors, the cube. Division and root take many times as long.
HWY_INLINE V reciprocal(V x) {
  const V y = hn::ApproximateReciprocal(x);
  if constexpr (HWY_TARGET <= HWY_AVX3) return hn::Mul(y, hn::NegMulAdd(x, y, set(2.0f)));
  const V h = hn::NegMulAdd(x, y, set(1.0f));
  return hn::MulAdd(y, hn::MulAdd(h, h, h), y);
}
HWY_INLINE V reciprocal_root(V x) {
  const V y = hn::ApproximateReciprocalSqrt(x);
  if constexpr (HWY_TARGET <= HWY_AVX3)
    return hn::Mul(y, hn::NegMulAdd(hn::Mul(hn::Mul(x, set(0.5f)), y), y, set(1.5f)));
  const V h = hn::NegMulAdd(hn::Mul(x, y), y, set(1.0f));
  return hn::MulAdd(y, hn::Mul(h, hn::MulAdd(h, set(0.375f), set(0.5f))), y);
}

// e^x = 2^n · (1 + q), where n is x / ln 2 rounded and q = e^r − 1 for the rest r, |r| ≤ ln 2 / 2:
// a polynomial, fitted to a relative error of 2e-8 of q. x is limited to `most` <= 89, where the
// result is infinity; below −88 it is 0. NaN is kept (in this order of arguments), or a broken step
// would go unnoticed.
struct Exponential {
  V power, q;  // 2^n, e^r − 1
};
HWY_INLINE Exponential split_exponential(V x, float most = 89.0f) {
  const hn::RebindToSigned<F> integers;
  x = hn::Max(set(-88.0f), hn::Min(set(most), x));
  // Added to this number, one below 2²² leaves its rounded value in the lowest bits.
  const V round = set(12582912.0f);
  const V bits = hn::MulAdd(x, set(1.44269504f), round), whole = hn::Sub(bits, round);
  // ln 2 in two parts; the first has few digits, so that its product is exact.
  const V r =
      hn::NegMulAdd(whole, set(-2.12194440e-4f), hn::NegMulAdd(whole, set(0.693359375f), x));
  V q = hn::MulAdd(set(1.38825165e-3f), r, set(8.36654752e-3f));
  q = hn::MulAdd(q, r, set(4.16672006e-2f));
  q = hn::MulAdd(q, r, set(0.166665435f));
  q = hn::MulAdd(q, r, set(0.49999997f));
  q = hn::MulAdd(hn::Mul(r, r), q, r);
  const auto power = hn::Add(hn::ShiftLeft<23>(hn::BitCast(integers, bits)),
                             hn::Set(integers, std::int32_t{127} << 23));
  return {hn::BitCast(kF, power), q};
}

HWY_INLINE V exponential(V x) {
  const Exponential e = split_exponential(x);
  return hn::MulAdd(e.power, e.q, e.power);
}

// e^x − 1, right to a few parts in 10⁷ also where x is small.
HWY_INLINE V exponential_minus_one(V x) {
  const Exponential e = split_exponential(x);
  return hn::MulAdd(e.power, e.q, hn::Sub(e.power, set(1.0f)));
}

HWY_INLINE V sigmoid(V x) {
  const Exponential e = split_exponential(hn::Neg(x), 86.0f);
  return reciprocal(hn::Add(hn::MulAdd(e.power, e.q, e.power), set(1.0f)));
}

HWY_INLINE V hyperbolic_tangent(V x) {  // beyond ±10 it is ±1 in fp32
  x = hn::Max(set(-10.0f), hn::Min(set(10.0f), x));
  const V e = exponential_minus_one(hn::Add(x, x));
  return hn::Mul(e, reciprocal(hn::Add(e, set(2.0f))));
}

// gelu_tanh and its derivative; the caller ignores what it does not need.
struct Gelu {
  V value, derivative;
};
HWY_INLINE Gelu gelu(V x) {
  const V square = hn::Mul(x, x);
  const V inner = hn::Mul(
      x, hn::MulAdd(square, set(2.0f * 0.7978845608f * 0.044715f), set(2.0f * 0.7978845608f)));
  // s and 1 − s = e^−inner · s: a difference would lose far arguments, which are multiplied by x³.
  const Exponential e = split_exponential(hn::Neg(inner), 86.0f);
  const V power = hn::MulAdd(e.power, e.q, e.power), s = reciprocal(hn::Add(power, set(1.0f)));
  const V dinner =
      hn::MulAdd(square, set(6.0f * 0.7978845608f * 0.044715f), set(2.0f * 0.7978845608f));
  const V slope = hn::Mul(hn::Mul(hn::Mul(x, dinner), s), hn::Mul(power, s));
  return {hn::Mul(x, s), hn::Add(s, slope)};
}

}  // namespace HWY_NAMESPACE
}  // namespace eyrie::tensor::cpu
HWY_AFTER_NAMESPACE();
#endif
