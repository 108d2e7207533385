// Rotary positions: angles, and the rotation of queries and keys.
#include "tensor/cpu/kernels.h"

#include <cmath>
#include <vector>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/rope.cc"
#include <hwy/foreach_target.h>
// After foreach_target, which includes this file once per target.
#include "tensor/cpu/dispatch.h"
#include "tensor/cpu/simd-inl.h"
#include "tensor/threads.h"

HWY_BEFORE_NAMESPACE();
namespace eyrie::tensor::cpu {
namespace HWY_NAMESPACE {
namespace {

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
            for_vectors(0, pairs, [&](std::int64_t j, auto part) {
              const V cosine = load(cosines.f32() + r * pairs + j, part);
              const V sine = hn::Mul(load(sines.f32() + r * pairs + j, part), sign);
              const V a = load(in + j, part), b = load(in + pairs + j, part);
              store(hn::NegMulAdd(b, sine, hn::Mul(a, cosine)), out + j, part);
              store(hn::MulAdd(a, sine, hn::Mul(b, cosine)), out + pairs + j, part);
            });
            for_vectors(2 * pairs, dim, [&](std::int64_t j, auto part) {
              store(load(in + j, part), out + j, part);
            });
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
