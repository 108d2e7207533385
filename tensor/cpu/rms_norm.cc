// RMSNorm, forward and backward, with the residual sum fused into the forward.
#include "tensor/cpu/kernels.h"

#include <algorithm>
#include <cmath>
#include <vector>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/rms_norm.cc"
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
void norm_row(const float* x, const float* scale, std::int64_t columns, T* y, float* inverse_rms) {
  V squares = set(0.0f);
  for_vectors(0, columns, [&](std::int64_t c, auto part) {
    const V v = load(x + c, part);
    squares = hn::MulAdd(v, v, squares);
  });
  const float inverse =
      1.0f / std::sqrt(sum(squares) / static_cast<float>(columns) + kRmsNormEpsilon);
  *inverse_rms = inverse;
  for_vectors(0, columns, [&](std::int64_t c, auto part) {
    const V gain = hn::Add(load(scale + c, part), set(1.0f));
    store(hn::Mul(hn::Mul(load(x + c, part), set(inverse)), gain), y + c, part);
  });
}

void AddRmsNorm(const Tensor& x, const Tensor& delta, const Tensor& total, const Tensor& scale,
                const Tensor& y, const Tensor& inverse_rms) {
  const std::int64_t columns = x.columns();
  with_type(y, [&](auto* out) {
    parallel_for(x.rows(), 8, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r) {
        const float* row = x.f32() + r * x.stride();
        if (delta) {
          float* to = total.f32() + r * total.stride();
          const float* add = delta.f32() + r * delta.stride();
          for_vectors(0, columns, [&](std::int64_t c, auto part) {
            store(hn::Add(load(row + c, part), load(add + c, part)), to + c, part);
          });
          row = to;
        }
        norm_row(row, scale.f32(), columns, out + r * y.stride(), inverse_rms.f32() + r);
      }
    });
  });
}

// Rows whose part of dscale is summed together, whatever the number of threads.
constexpr std::int64_t kRowBlock = 32;

// One row of the gradient; adds its part of dscale to `dscale`. With x̂ = x·inverse and g = dy·(1 +
// scale):  dx += inverse · (g − x̂ · mean(g·x̂)),  dscale = Σ dy·x̂.
template <class T>
void backward_row(const float* dy, const float* x, const float* scale, float inverse_rms,
                  std::int64_t columns, float* dx, T* rounded, float* dscale) {
  const V inverse = set(inverse_rms);
  V dots = set(0.0f);
  for_vectors(0, columns, [&](std::int64_t c, auto part) {
    const V d = load(dy + c, part), unit = hn::Mul(load(x + c, part), inverse);
    store(hn::MulAdd(d, unit, load(dscale + c, part)), dscale + c, part);
    dots = hn::MulAdd(hn::Mul(d, hn::Add(load(scale + c, part), set(1.0f))), unit, dots);
  });
  const V mean = set(sum(dots) / static_cast<float>(columns));
  for_vectors(0, columns, [&](std::int64_t c, auto part) {
    const V g = hn::Mul(load(dy + c, part), hn::Add(load(scale + c, part), set(1.0f)));
    const V unit = hn::Mul(load(x + c, part), inverse);
    const V total = hn::MulAdd(inverse, hn::NegMulAdd(unit, mean, g), load(dx + c, part));
    store(total, dx + c, part);
    if (rounded != nullptr) store(total, rounded + c, part);
  });
}

void RmsNormBackward(const Tensor& dy, const Tensor& x, const Tensor& scale,
                     const Tensor& inverse_rms, const Tensor& dx, const Tensor& dscale,
                     const Tensor& rounded) {
  const std::int64_t columns = x.columns(), rows = x.rows();
  const std::int64_t blocks = (rows + kRowBlock - 1) / kRowBlock;
  static thread_local std::vector<float> memory;  // (blocks, columns): parts of dscale
  memory.assign(static_cast<std::size_t>(blocks * columns), 0.0f);
  float* const parts = memory.data();
  with_type(rounded ? rounded : dx, [&](auto* narrow) {
    if (!rounded) narrow = nullptr;
    parallel_for(blocks, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin * kRowBlock; r < std::min(end * kRowBlock, rows); ++r) {
        backward_row(dy.f32() + r * dy.stride(), x.f32() + r * x.stride(), scale.f32(),
                     inverse_rms.f32()[r], columns, dx.f32() + r * dx.stride(),
                     narrow == nullptr ? narrow : narrow + r * rounded.stride(),
                     parts + r / kRowBlock * columns);
      }
    });
  });
  parallel_for((columns + 63) / 64, 8, [&](std::int64_t begin, std::int64_t end) {
    for_vectors(begin * 64, std::min(end * 64, columns), [&](std::int64_t c, auto part) {
      V total = set(0.0f);
      for (std::int64_t i = 0; i < blocks; ++i)
        total = hn::Add(total, load(parts + i * columns + c, part));
      store(total, dscale.f32() + c, part);
    });
  });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace eyrie::tensor::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace eyrie::tensor::cpu {
HWY_EXPORT(AddRmsNorm);
void add_rms_norm(const Tensor& x, const Tensor& delta, const Tensor& sum, const Tensor& scale,
                  const Tensor& y, const Tensor& inverse_rms) {
  HWY_DYNAMIC_DISPATCH(AddRmsNorm)(x, delta, sum, scale, y, inverse_rms);
}
HWY_EXPORT(RmsNormBackward);
void rms_norm_backward(const Tensor& dy, const Tensor& x, const Tensor& scale,
                       const Tensor& inverse_rms, const Tensor& dx, const Tensor& dscale,
                       const Tensor& rounded) {
  HWY_DYNAMIC_DISPATCH(RmsNormBackward)(dy, x, scale, inverse_rms, dx, dscale, rounded);
}

}  // namespace eyrie::tensor::cpu
#endif
