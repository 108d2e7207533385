// AdamW on flat ranges.
#include "tensor/cpu/kernels.h"

#include <algorithm>
#include <cmath>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/adamw.cc"
#include <hwy/foreach_target.h>
// After foreach_target, which includes this file once per target.
#include "tensor/cpu/dispatch.h"
#include "tensor/cpu/simd-inl.h"
#include "tensor/threads.h"

HWY_BEFORE_NAMESPACE();
namespace eyrie::tensor::cpu {
namespace HWY_NAMESPACE {
namespace {

void AdamW(const Tensor& parameter, const Tensor& gradient, const Tensor& moment1,
           const Tensor& moment2, const AdamWStep& step) {
  const std::int64_t count = parameter.count();
  float *const weights = parameter.f32(), *const first = moment1.f32(),
               *const second = moment2.f32();
  const float* const gradients = gradient.f32();
  const auto power = static_cast<double>(step.step);
  const float correction1 =
      static_cast<float>(1.0 / (1.0 - std::pow(static_cast<double>(step.beta1), power)));
  const float correction2 =
      static_cast<float>(1.0 / (1.0 - std::pow(static_cast<double>(step.beta2), power)));
  parallel_for((count + 4095) / 4096, 4, [&](std::int64_t begin, std::int64_t end) {
    const std::int64_t last = std::min(end * 4096, count);
    for_vectors(begin * 4096, last, [&](std::int64_t i, auto part) {
      const V g = hn::Mul(load(gradients + i, part), set(step.gradient_scale));
      const V m =
          hn::MulAdd(set(step.beta1), load(first + i, part), hn::Mul(set(1.0f - step.beta1), g));
      const V v = hn::MulAdd(set(step.beta2), load(second + i, part),
                             hn::Mul(hn::Mul(set(1.0f - step.beta2), g), g));
      store(m, first + i, part);
      store(v, second + i, part);
      const V root = hn::Add(hn::Sqrt(hn::Mul(v, set(correction2))), set(step.epsilon));
      const V p = load(weights + i, part);
      const V change =
          hn::MulAdd(set(step.weight_decay), p, hn::Div(hn::Mul(m, set(correction1)), root));
      store(hn::NegMulAdd(set(step.learning_rate), change, p), weights + i, part);
    });
  });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace eyrie::tensor::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace eyrie::tensor::cpu {
HWY_EXPORT(AdamW);
void adamw(const Tensor& parameter, const Tensor& gradient, const Tensor& moment1,
           const Tensor& moment2, const AdamWStep& step) {
  HWY_DYNAMIC_DISPATCH(AdamW)(parameter, gradient, moment1, moment2, step);
}

}  // namespace eyrie::tensor::cpu
#endif
