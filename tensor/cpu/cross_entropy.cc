// Soft cap, log-softmax, cross-entropy and its gradient, a row at a time.
#include "tensor/ops/cross_entropy.h"

#include <algorithm>
#include <cmath>
#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/cross_entropy.cc"
#include <hwy/foreach_target.h>
// After foreach_target, which includes this file once per target.
#include "tensor/cpu/dispatch.h"
#include "tensor/cpu/simd-inl.h"
#include "tensor/threads.h"

HWY_BEFORE_NAMESPACE();
namespace eyrie::tensor {
namespace HWY_NAMESPACE {
namespace {

// Caps a row in place; returns its largest value.
float cap_row(float* row, std::int64_t columns, float cap) {
  V most = set(-std::numeric_limits<float>::infinity());
  const float inverse = cap > 0 ? 1.0f / cap : 0.0f;
  for (std::int64_t c = 0; c < columns; c += lanes()) {
    const std::int64_t part = columns - c;
    V v = load(row + c, part);
    if (cap > 0) {
      v = hn::Mul(set(cap), hn::Tanh(kF, hn::Mul(v, set(inverse))));
      store(v, row + c, part);
    }
    if (part < lanes()) v = hn::IfThenElse(hn::FirstN(kF, static_cast<std::size_t>(part)), v, most);
    most = hn::Max(most, v);
  }
  return hn::GetLane(hn::MaxOfLanes(kF, most));
}

float log_sum_row(const float* row, std::int64_t columns, float most) {
  V total = set(0.0f);
  for (std::int64_t c = 0; c < columns; c += lanes()) {
    const std::int64_t part = columns - c;
    V e = exponential(hn::Sub(load(row + c, part), set(most)));
    if (part < lanes()) e = hn::IfThenElseZero(hn::FirstN(kF, static_cast<std::size_t>(part)), e);
    total = hn::Add(total, e);
  }
  return most + std::log(sum(total));
}

void CrossEntropy(const Tensor& logits, const Tensor& targets, const Tensor& weight, float cap,
                  const Tensor& nll, const Tensor& dlogits, float gradient_scale) {
  const std::int64_t columns = logits.columns();
  const float inverse_cap = cap > 0 ? 1.0f / cap : 0.0f;
  const auto body = [&](auto* gradients, std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      float* row = logits.f32() + r * logits.stride();
      auto* to = gradients == nullptr ? nullptr : gradients + r * dlogits.stride();
      const float w = weight.f32()[r];
      if (w == 0.0f) {
        nll.f32()[r] = 0.0f;
        if (to != nullptr)
          std::fill(to, to + columns, std::remove_pointer_t<decltype(gradients)>{});
        continue;
      }
      const std::int32_t target = targets.as<std::int32_t>()[r];
      const float log_sum = log_sum_row(row, columns, cap_row(row, columns, cap));
      const float y_target =
          row[target];  // before the row is overwritten: the gradient may go in its place
      nll.f32()[r] = log_sum - y_target;
      if (to == nullptr) continue;
      const V scale = set(w * gradient_scale);
      for (std::int64_t c = 0; c < columns; c += lanes()) {
        const std::int64_t part = columns - c;
        const V y = load(row + c, part);
        const V p = exponential(hn::Sub(y, set(log_sum)));
        V slope = scale;
        if (cap > 0) {  // d(cap·tanh(x/cap))/dx = 1 − (y/cap)²
          const V unit = hn::Mul(y, set(inverse_cap));
          slope = hn::Mul(scale, hn::NegMulAdd(unit, unit, set(1.0f)));
        }
        store(hn::Mul(p, slope), to + c, part);
      }
      // The target's own: p − 1, in fp32 before the one rounding.
      const float unit = y_target * inverse_cap;
      const float slope = w * gradient_scale * (cap > 0 ? 1.0f - unit * unit : 1.0f);
      const float d = (std::exp(y_target - log_sum) - 1.0f) * slope;
      if constexpr (std::is_same_v<decltype(gradients), BFloat16*>) {
        to[target] = to_bfloat16(d);
      } else {
        to[target] = d;
      }
    }
  };
  parallel_for(logits.rows(), 1, [&](std::int64_t begin, std::int64_t end) {
    if (!dlogits) return body(static_cast<float*>(nullptr), begin, end);
    with_type(dlogits, [&](auto* gradients) { body(gradients, begin, end); });
  });
}

void ScoreLogits(const Tensor& logits, float cap, const Tensor& log_sum, const Tensor& argmax) {
  parallel_for(logits.rows(), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      float* row = logits.f32() + r * logits.stride();
      const float most = cap_row(row, logits.columns(), cap);
      log_sum.f32()[r] = log_sum_row(row, logits.columns(), most);
      std::int64_t best = 0;
      while (best + 1 < logits.columns() && row[best] < most) ++best;
      argmax.as<std::int32_t>()[r] = static_cast<std::int32_t>(best);
    }
  });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace eyrie::tensor
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace eyrie::tensor {
HWY_EXPORT(CrossEntropy);
void cross_entropy(const Tensor& logits, const Tensor& targets, const Tensor& weight, float cap,
                   const Tensor& nll, const Tensor& dlogits, float gradient_scale) {
  HWY_DYNAMIC_DISPATCH(CrossEntropy)(logits, targets, weight, cap, nll, dlogits, gradient_scale);
}
HWY_EXPORT(ScoreLogits);
void score_logits(const Tensor& logits, float cap, const Tensor& log_sum, const Tensor& argmax) {
  HWY_DYNAMIC_DISPATCH(ScoreLogits)(logits, cap, log_sum, argmax);
}

}  // namespace eyrie::tensor
#endif
