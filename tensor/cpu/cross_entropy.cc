// Soft cap, log-softmax, cross-entropy and its gradient, one row at a time.
#include "tensor/cpu/kernels.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/cross_entropy.cc"
#include <hwy/foreach_target.h>
// After foreach_target, which includes this file once per target.
#include "tensor/cpu/dispatch.h"
#include "tensor/cpu/simd-inl.h"
#include "tensor/threads.h"

HWY_BEFORE_NAMESPACE();
namespace eyrie::tensor::cpu {
namespace HWY_NAMESPACE {
namespace {

// Of a row: its largest value, and Σ e^(value − shift).
struct RowSum {
  float most, shift, total;
  // In double: the logarithm may be as large as the shift.
  float log_sum() const {
    return static_cast<float>(double{shift} + std::log(static_cast<double>(total)));
  }
};

// Up to this cap e^(value − cap) neither leaves the range of fp32 nor vanishes, so that the largest
// value need not be known before the sum.
constexpr float kLargestShift = 40;

template <bool kCaps>
V capped_value(V v, V cap, V inverse) {
  return kCaps ? hn::Mul(cap, hyperbolic_tangent(hn::Mul(v, inverse))) : v;
}

// Caps a row in place and sums it.
template <bool kCaps>
RowSum sum_capped(float* row, std::int64_t columns, float cap) {
  const V least = set(-std::numeric_limits<float>::infinity());
  const V limit = set(cap), inverse = set(kCaps ? 1.0f / cap : 0.0f);
  const bool at_once = kCaps && cap <= kLargestShift;
  V most = least, total = set(0.0f);
  for_vectors(0, columns, [&](std::int64_t c, auto part) {
    V v = capped_value<kCaps>(load(row + c, part), limit, inverse);
    if (kCaps) store(v, row + c, part);
    if (part < lanes())
      v = hn::IfThenElse(hn::FirstN(kF, static_cast<std::size_t>(part)), v, least);
    most = hn::Max(most, v);
    if (at_once) total = hn::Add(total, exponential(hn::Sub(v, limit)));
  });
  const float top = hn::GetLane(hn::MaxOfLanes(kF, most));
  if (at_once) return {top, cap, sum(total)};
  for_vectors(0, columns, [&](std::int64_t c, auto part) {
    V e = exponential(hn::Sub(load(row + c, part), set(top)));
    if (part < lanes()) e = hn::IfThenElseZero(hn::FirstN(kF, static_cast<std::size_t>(part)), e);
    total = hn::Add(total, e);
  });
  return {top, top, sum(total)};
}

RowSum sum_row(float* row, std::int64_t columns, float cap) {
  return cap > 0 ? sum_capped<true>(row, columns, cap) : sum_capped<false>(row, columns, cap);
}

void put(float value, float* to) { *to = value; }
void put(float value, BFloat16* to) { *to = to_bfloat16(value); }

// Writes d(nll)/d logits, times `all`, for a row of capped logits y. `target` is an index in the
// row, or −1.
template <class T>
void gradient_row(const float* row, std::int64_t columns, float log_sum, float cap,
                  std::int64_t target, float all, T* to) {
  const float inverse_cap = cap > 0 ? 1.0f / cap : 0.0f;
  // Read before the row is overwritten: the gradient may be written in its place.
  const float y_target = target < 0 ? 0.0f : row[target];
  const V scale = set(all);
  for_vectors(0, columns, [&](std::int64_t c, auto part) {
    const V y = load(row + c, part);
    const V p = exponential(hn::Sub(y, set(log_sum)));
    V slope = scale;
    if (cap > 0) {  // d(cap·tanh(x/cap))/dx = 1 − (y/cap)²
      const V unit = hn::Mul(y, set(inverse_cap));
      slope = hn::Mul(scale, hn::NegMulAdd(unit, unit, set(1.0f)));
    }
    store(hn::Mul(p, slope), to + c, part);
  });
  if (target < 0) return;
  // The target's own gradient: p − 1, in fp32 before the one rounding.
  const float unit = y_target * inverse_cap;
  const float slope = all * (cap > 0 ? 1.0f - unit * unit : 1.0f);
  put((std::exp(y_target - log_sum) - 1.0f) * slope, to + target);
}

// The same for a row of logits that are not capped yet, with a cap of at most kLargestShift. One
// exponential serves the sum and the gradient: until the sum is known, a row holds
// e^(y − cap) · (1 − (y/cap)²). Returns the row's loss.
template <class T>
float loss_and_gradient(float* row, std::int64_t columns, float cap, std::int64_t target, float all,
                        T* to) {
  const V limit = set(cap), inverse = set(1.0f / cap), one = set(1.0f);
  V sums = set(0.0f);
  const auto step = [&](float* at, auto part) {
    const V unit = hyperbolic_tangent(hn::Mul(load(at, part), inverse));
    V e = exponential(hn::Sub(hn::Mul(limit, unit), limit));
    if (part < lanes()) e = hn::IfThenElseZero(hn::FirstN(kF, static_cast<std::size_t>(part)), e);
    sums = hn::Add(sums, e);
    store(hn::Mul(e, hn::NegMulAdd(unit, unit, one)), at, part);
  };
  const float unit_target = hn::GetLane(hyperbolic_tangent(hn::Mul(set(row[target]), inverse)));
  const float y_target = cap * unit_target;
  for_vectors(0, columns, [&](std::int64_t c, auto part) { step(row + c, part); });
  const float total = sum(sums);
  const float log_sum = RowSum{0, cap, total}.log_sum();
  const V scale = set(all / total);
  for_vectors(0, columns, [&](std::int64_t c, auto part) {
    store(hn::Mul(load(row + c, part), scale), to + c, part);
  });
  put((std::exp(y_target - log_sum) - 1.0f) * (1.0f - unit_target * unit_target) * all,
      to + target);
  return log_sum - y_target;
}

// What is known about a row before its gradient: log Σ exp over the whole vocabulary, the target's
// logit, and the target's index in the row (−1: it is on another rank).
struct RowLoss {
  float log_sum, target_logit;
  std::int64_t target;
};

// The loss of a row of capped logits, whose gradient is written to `to` unless that is null.
template <class T>
float finish_row(const RowLoss& loss, const float* row, std::int64_t columns, float cap, float all,
                 T* to) {
  if (to != nullptr) gradient_row(row, columns, loss.log_sum, cap, loss.target, all, to);
  return loss.log_sum - loss.target_logit;
}

// Writes nll for every row with a weight, and zeros for the others. `loss_of(r, row, all, to)`
// returns the row's loss and, if `to` is not null, writes its gradient times `all` there.
template <class LossOf>
void losses(const Tensor& logits, const Tensor& weight, const Tensor& nll, const Tensor& dlogits,
            float gradient_scale, const LossOf& loss_of) {
  const std::int64_t columns = logits.columns();
  const auto body = [&](auto* gradients, std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      auto* to = gradients == nullptr ? nullptr : gradients + r * dlogits.stride();
      const float w = weight.f32()[r];
      if (w != 0.0f) {
        nll.f32()[r] = loss_of(r, logits.f32() + r * logits.stride(), w * gradient_scale, to);
        continue;
      }
      nll.f32()[r] = 0.0f;
      if (to != nullptr) std::fill(to, to + columns, std::remove_pointer_t<decltype(gradients)>{});
    }
  };
  parallel_for(logits.rows(), 1, [&](std::int64_t begin, std::int64_t end) {
    if (!dlogits) return body(static_cast<float*>(nullptr), begin, end);
    with_type(dlogits, [&](auto* gradients) { body(gradients, begin, end); });
  });
}

void CrossEntropy(const Tensor& logits, const Tensor& targets, const Tensor& weight, float cap,
                  const Tensor& nll, const Tensor& dlogits, float gradient_scale) {
  const std::int64_t columns = logits.columns();
  losses(logits, weight, nll, dlogits, gradient_scale,
         [&](std::int64_t r, float* row, float all, auto* to) {
           const std::int64_t target = targets.as<std::int32_t>()[r];
           EYRIE_CHECK(target >= 0 && target < columns, "a target that has no logit");
           if (to != nullptr && cap > 0 && cap <= kLargestShift)
             return loss_and_gradient(row, columns, cap, target, all, to);
           const float log_sum = sum_row(row, columns, cap).log_sum();
           return finish_row({log_sum, row[target], target}, row, columns, cap, all, to);
         });
}

void CrossEntropySums(const Tensor& logits, const Tensor& targets, std::int64_t first, float cap,
                      const Tensor& sums) {
  const std::int64_t columns = logits.columns();
  parallel_for(logits.rows(), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      float* row = logits.f32() + r * logits.stride();
      float* to = sums.f32() + 3 * r;
      const RowSum all = sum_row(row, columns, cap);
      const std::int64_t target = targets.as<std::int32_t>()[r] - first;
      to[0] = all.shift;
      to[1] = all.total;
      to[2] = target >= 0 && target < columns ? row[target] : 0.0f;
    }
  });
}

void CrossEntropySplit(const Tensor& capped, const Tensor& targets, const Tensor& weight,
                       std::int64_t first, float cap, const Tensor& all_sums, const Tensor& nll,
                       const Tensor& dlogits, float gradient_scale) {
  losses(capped, weight, nll, dlogits, gradient_scale,
         [&](std::int64_t r, const float* row, float all, auto* to) {
           float most = -std::numeric_limits<float>::infinity(), total = 0, target_logit = 0;
           for (std::int64_t rank = 0; rank < all_sums.rows(); ++rank)
             most = std::max(most, all_sums.f32()[rank * all_sums.stride() + 3 * r]);
           for (std::int64_t rank = 0; rank < all_sums.rows(); ++rank) {
             const float* part = all_sums.f32() + rank * all_sums.stride() + 3 * r;
             total += part[1] * std::exp(part[0] - most);
             target_logit += part[2];
           }
           const std::int64_t target = targets.as<std::int32_t>()[r] - first;
           const bool here = target >= 0 && target < capped.columns();
           return finish_row({RowSum{0, most, total}.log_sum(), target_logit, here ? target : -1},
                             row, capped.columns(), cap, all, to);
         });
}

void ScoreLogits(const Tensor& logits, float cap, const Tensor& log_sum, const Tensor& argmax) {
  parallel_for(logits.rows(), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      float* row = logits.f32() + r * logits.stride();
      const RowSum all = sum_row(row, logits.columns(), cap);
      log_sum.f32()[r] = all.log_sum();
      std::int64_t best = 0;
      while (best + 1 < logits.columns() && row[best] < all.most) ++best;
      argmax.as<std::int32_t>()[r] = static_cast<std::int32_t>(best);
    }
  });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace eyrie::tensor::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace eyrie::tensor::cpu {
HWY_EXPORT(CrossEntropy);
void cross_entropy(const Tensor& logits, const Tensor& targets, const Tensor& weight, float cap,
                   const Tensor& nll, const Tensor& dlogits, float gradient_scale) {
  HWY_DYNAMIC_DISPATCH(CrossEntropy)(logits, targets, weight, cap, nll, dlogits, gradient_scale);
}
HWY_EXPORT(CrossEntropySums);
void cross_entropy_sums(const Tensor& logits, const Tensor& targets, std::int64_t first, float cap,
                        const Tensor& sums) {
  HWY_DYNAMIC_DISPATCH(CrossEntropySums)(logits, targets, first, cap, sums);
}
HWY_EXPORT(CrossEntropySplit);
void cross_entropy_split(const Tensor& capped, const Tensor& targets, const Tensor& weight,
                         std::int64_t first, float cap, const Tensor& all_sums, const Tensor& nll,
                         const Tensor& dlogits, float gradient_scale) {
  HWY_DYNAMIC_DISPATCH(CrossEntropySplit)
  (capped, targets, weight, first, cap, all_sums, nll, dlogits, gradient_scale);
}
HWY_EXPORT(ScoreLogits);
void score_logits(const Tensor& logits, float cap, const Tensor& log_sum, const Tensor& argmax) {
  HWY_DYNAMIC_DISPATCH(ScoreLogits)(logits, cap, log_sum, argmax);
}

}  // namespace eyrie::tensor::cpu
#endif
