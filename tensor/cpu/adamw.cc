// AdamW on flat ranges; sums of squares in a fixed order.
#include "tensor/ops/adamw.h"

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
namespace eyrie::tensor {
namespace HWY_NAMESPACE {
namespace {

void AdamW(std::span<float> parameter, std::span<const float> gradient, std::span<float> moment1,
           std::span<float> moment2, const AdamWStep& step) {
  const auto count = static_cast<std::int64_t>(parameter.size());
  const auto power = static_cast<double>(step.step);
  const float correction1 =
      static_cast<float>(1.0 / (1.0 - std::pow(static_cast<double>(step.beta1), power)));
  const float correction2 =
      static_cast<float>(1.0 / (1.0 - std::pow(static_cast<double>(step.beta2), power)));
  parallel_for((count + 4095) / 4096, 4, [&](std::int64_t begin, std::int64_t end) {
    const std::int64_t last = std::min(end * 4096, count);
    for (std::int64_t i = begin * 4096; i < last; i += lanes()) {
      const std::int64_t part = last - i;
      const V g = hn::Mul(load(gradient.data() + i, part), set(step.gradient_scale));
      const V m = hn::MulAdd(set(step.beta1), load(moment1.data() + i, part),
                             hn::Mul(set(1.0f - step.beta1), g));
      const V v = hn::MulAdd(set(step.beta2), load(moment2.data() + i, part),
                             hn::Mul(hn::Mul(set(1.0f - step.beta2), g), g));
      store(m, moment1.data() + i, part);
      store(v, moment2.data() + i, part);
      const V root = hn::Add(hn::Sqrt(hn::Mul(v, set(correction2))), set(step.epsilon));
      const V p = load(parameter.data() + i, part);
      const V change =
          hn::MulAdd(set(step.weight_decay), p, hn::Div(hn::Mul(m, set(correction1)), root));
      store(hn::NegMulAdd(set(step.learning_rate), change, p), parameter.data() + i, part);
    }
  });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace eyrie::tensor
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace eyrie::tensor {
HWY_EXPORT(AdamW);
void adamw(std::span<float> parameter, std::span<const float> gradient, std::span<float> moment1,
           std::span<float> moment2, const AdamWStep& step) {
  HWY_DYNAMIC_DISPATCH(AdamW)(parameter, gradient, moment1, moment2, step);
}

double sum_of_squares(std::span<const float> x) {
  double sums[8] = {};
  std::size_t i = 0;
  for (; i + 8 <= x.size(); i += 8) {
    for (std::size_t j = 0; j < 8; ++j)
      sums[j] += static_cast<double>(x[i + j]) * static_cast<double>(x[i + j]);
  }
  for (std::size_t j = 0; i < x.size(); ++i, ++j)
    sums[j] += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

}  // namespace eyrie::tensor
#endif
