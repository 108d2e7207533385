// The RG-LRU: gates, decay and scan in one pass over time; threads own channels.
#include "tensor/cpu/kernels.h"

#include <algorithm>
#include <cmath>
#include <vector>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/rg_lru.cc"
#include <hwy/foreach_target.h>
// After foreach_target, which includes this file once per target.
#include "tensor/cpu/dispatch.h"
#include "tensor/cpu/simd-inl.h"
#include "tensor/threads.h"

HWY_BEFORE_NAMESPACE();
namespace eyrie::tensor::cpu {
namespace HWY_NAMESPACE {
namespace {

constexpr std::int64_t kChannelTile = 64;

// Returns −8 softplus(p), which is log a for r = 1. Its derivative is −8 σ(p).
HWY_INLINE V log_decay(V p) {
  // softplus without overflow: max(p, 0) + log1p(e^−|p|).
  const V tail = hn::Log1p(kF, exponential(hn::Neg(hn::Abs(p))));
  return hn::Mul(set(-kRgLruC), hn::Add(hn::Max(set(0.0f), p), tail));
}

// Splits the channels among the threads and calls body(c, part) for every vector of channels, where
// `part` channels are left from c on.
template <class Body>
void for_channels(std::int64_t channels, const Body& body) {
  parallel_for((channels + kChannelTile - 1) / kChannelTile, 1,
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t c = begin * kChannelTile;
                      c < std::min(end * kChannelTile, channels); c += lanes())
                   body(c, channels - c);
               });
}

void RgLru(const Tensor& u, const Tensor& gate_x, const Tensor& gate_a, const Tensor& bias_x,
           const Tensor& bias_a, const Tensor& a_param, const Tensor& positions,
           std::int64_t sequences, const Tensor& h, const Tensor& state) {
  const std::int64_t channels = u.columns(),
                     length = u.rows() / std::max<std::int64_t>(sequences, 1);
  const auto* position = positions.as<std::int32_t>();
  with_type(u, [&](auto* in) {
    auto* out = static_cast<decltype(in)>(h.data());
    EYRIE_CHECK(u.dtype() == h.dtype(), "rg_lru: u and h of one dtype");
    for_channels(channels, [&](std::int64_t c, std::int64_t part) {
      const V decay = log_decay(load(a_param.f32() + c, part));
      const V bx = load(bias_x.f32() + c, part), ba = load(bias_a.f32() + c, part);
      for (std::int64_t q = 0; q < sequences; ++q) {
        V held = state ? load(state.f32() + q * channels + c, part) : set(0.0f);
        for (std::int64_t t = 0; t < length; ++t) {
          const std::int64_t at = (q * length + t) * channels + c;
          const V i = sigmoid(hn::Add(load(gate_x.f32() + at, part), bx));
          const V r = sigmoid(hn::Add(load(gate_a.f32() + at, part), ba));
          store(i, gate_x.f32() + at, part);
          store(r, gate_a.f32() + at, part);
          const V gated = hn::Mul(load(in + at, part), i);
          if (position[q * length + t] == 0) {
            held = gated;
          } else {
            const V log_a = hn::Mul(decay, r);
            const V a = exponential(log_a);
            const V m = hn::Sqrt(hn::Neg(hn::Expm1(kF, hn::Add(log_a, log_a))));
            held = hn::MulAdd(a, held, hn::Mul(m, gated));
          }
          store(held, out + at, part);
        }
        if (state) store(held, state.f32() + q * channels + c, part);
      }
    });
  });
}

void RgLruSummary(const Tensor& u, const Tensor& gate_x, const Tensor& gate_a, const Tensor& bias_x,
                  const Tensor& bias_a, const Tensor& a_param, const Tensor& positions,
                  std::int64_t sequences, const Tensor& product, const Tensor& last) {
  const std::int64_t channels = u.columns(),
                     length = u.rows() / std::max<std::int64_t>(sequences, 1);
  const auto* position = positions.as<std::int32_t>();
  with_type(u, [&](auto* in) {
    for_channels(channels, [&](std::int64_t c, std::int64_t part) {
      const V decay = log_decay(load(a_param.f32() + c, part));
      const V bx = load(bias_x.f32() + c, part), ba = load(bias_a.f32() + c, part);
      for (std::int64_t q = 0; q < sequences; ++q) {
        V held = set(0.0f), all = set(1.0f);
        for (std::int64_t t = 0; t < length; ++t) {
          const std::int64_t at = (q * length + t) * channels + c;
          const V i = sigmoid(hn::Add(load(gate_x.f32() + at, part), bx));
          const V gated = hn::Mul(load(in + at, part), i);
          if (position[q * length + t] == 0) {
            held = gated;
            all = set(0.0f);
            continue;
          }
          const V r = sigmoid(hn::Add(load(gate_a.f32() + at, part), ba));
          const V log_a = hn::Mul(decay, r), a = exponential(log_a);
          const V m = hn::Sqrt(hn::Neg(hn::Expm1(kF, hn::Add(log_a, log_a))));
          held = hn::MulAdd(a, held, hn::Mul(m, gated));
          all = hn::Mul(a, all);
        }
        store(all, product.f32() + q * channels + c, part);
        store(held, last.f32() + q * channels + c, part);
      }
    });
  });
}

void RgLruBackwardSummary(const Tensor& dh, const Tensor& r, const Tensor& a_param,
                          const Tensor& positions, std::int64_t sequences, const Tensor& product,
                          const Tensor& first) {
  const std::int64_t channels = dh.columns(),
                     length = dh.rows() / std::max<std::int64_t>(sequences, 1);
  const auto* position = positions.as<std::int32_t>();
  for_channels(channels, [&](std::int64_t c, std::int64_t part) {
    const V decay = log_decay(load(a_param.f32() + c, part));
    for (std::int64_t q = 0; q < sequences; ++q) {
      V carried = set(0.0f), all = set(1.0f);
      for (std::int64_t t = length - 1; t >= 0; --t) {
        const std::int64_t at = (q * length + t) * channels + c;
        if (position[q * length + t] == 0) {
          carried = all = set(0.0f);
          continue;
        }
        const V a = exponential(hn::Mul(decay, load(r.f32() + at, part)));
        carried = hn::Mul(a, hn::Add(load(dh.f32() + at, part), carried));
        all = hn::Mul(a, all);
      }
      store(all, product.f32() + q * channels + c, part);
      store(carried, first.f32() + q * channels + c, part);
    }
  });
}

void RgLruBackwardKernel(const RgLruBackward& args, std::int64_t sequences) {
  const std::int64_t channels = args.u.columns(),
                     length = args.u.rows() / std::max<std::int64_t>(sequences, 1);
  const auto* position = args.positions.as<std::int32_t>();
  with_type(args.u, [&](auto* in) {
    const auto* saved_h = static_cast<decltype(in)>(args.h.data());
    with_type(args.dgate_x, [&](auto* out_x) {
      auto* out_a = static_cast<decltype(out_x)>(args.dgate_a.data());
      for_channels(channels, [&](std::int64_t c, std::int64_t part) {
        const V p = load(args.a_param.f32() + c, part);
        const V decay = log_decay(p);
        V dx_bias = set(0.0f), da_bias = set(0.0f), dlog = set(0.0f);
        for (std::int64_t q = 0; q < sequences; ++q) {
          // carried: a[t+1] · g[t+1], where g[t] is the gradient that arrives at h[t].
          V carried =
              args.dstate_last ? load(args.dstate_last.f32() + q * channels + c, part) : set(0.0f);
          for (std::int64_t t = length - 1; t >= 0; --t) {
            const std::int64_t at = (q * length + t) * channels + c;
            const V g = hn::Add(load(args.dh.f32() + at, part), carried);
            const V i = load(args.i.f32() + at, part), r = load(args.r.f32() + at, part);
            const V u = load(in + at, part);
            V dgated = g, dr = set(0.0f);
            if (position[q * length + t] == 0) {
              carried = set(0.0f);
            } else {
              const V before = t > 0 ? load(saved_h + at - channels, part)
                               : args.initial_state
                                   ? load(args.initial_state.f32() + q * channels + c, part)
                                   : set(0.0f);
              const V log_a = hn::Mul(decay, r);
              const V a = exponential(log_a);
              const V rest = hn::Neg(hn::Expm1(kF, hn::Add(log_a, log_a)));  // 1 − a²
              const V m = hn::Sqrt(rest);
              const V slope =
                  hn::Div(set(1.0f), hn::Sqrt(hn::Max(hn::Mul(set(4.0f), rest), set(1e-6f))));
              const V gated = hn::Mul(u, i);
              // d/dlog a of a·before + m·gated, with d(1 − a²)/dlog a = −2a².
              const V through_m =
                  hn::Mul(hn::Mul(gated, slope), hn::Mul(set(-2.0f), hn::Mul(a, a)));
              const V dlog_a = hn::Mul(g, hn::MulAdd(a, before, through_m));
              dr = hn::Mul(dlog_a, decay);
              dlog = hn::MulAdd(dlog_a, r, dlog);
              dgated = hn::Mul(g, m);
              carried = hn::Mul(a, g);
            }
            store(hn::Mul(dgated, i), args.du.f32() + at, part);
            const V di = hn::Mul(dgated, u);
            const V dx = hn::Mul(di, hn::Mul(i, hn::Sub(set(1.0f), i)));
            const V da = hn::Mul(dr, hn::Mul(r, hn::Sub(set(1.0f), r)));
            store(dx, out_x + at, part);
            store(da, out_a + at, part);
            dx_bias = hn::Add(dx_bias, dx);
            da_bias = hn::Add(da_bias, da);
          }
          if (args.dinitial_state)
            store(carried, args.dinitial_state.f32() + q * channels + c, part);
        }
        store(dx_bias, args.dbias_x.f32() + c, part);
        store(da_bias, args.dbias_a.f32() + c, part);
        store(hn::Mul(dlog, hn::Mul(set(-kRgLruC), sigmoid(p))), args.da_param.f32() + c, part);
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
HWY_EXPORT(RgLru);
void rg_lru(const Tensor& u, const Tensor& gate_x, const Tensor& gate_a, const Tensor& bias_x,
            const Tensor& bias_a, const Tensor& a_param, const Tensor& positions,
            std::int64_t sequences, const Tensor& h, const Tensor& state) {
  HWY_DYNAMIC_DISPATCH(RgLru)
  (u, gate_x, gate_a, bias_x, bias_a, a_param, positions, sequences, h, state);
}
HWY_EXPORT(RgLruSummary);
void rg_lru_summary(const Tensor& u, const Tensor& gate_x, const Tensor& gate_a,
                    const Tensor& bias_x, const Tensor& bias_a, const Tensor& a_param,
                    const Tensor& positions, std::int64_t sequences, const Tensor& product,
                    const Tensor& last) {
  HWY_DYNAMIC_DISPATCH(RgLruSummary)
  (u, gate_x, gate_a, bias_x, bias_a, a_param, positions, sequences, product, last);
}
HWY_EXPORT(RgLruBackwardSummary);
void rg_lru_backward_summary(const Tensor& dh, const Tensor& r, const Tensor& a_param,
                             const Tensor& positions, std::int64_t sequences, const Tensor& product,
                             const Tensor& first) {
  HWY_DYNAMIC_DISPATCH(RgLruBackwardSummary)
  (dh, r, a_param, positions, sequences, product, first);
}
HWY_EXPORT(RgLruBackwardKernel);
void rg_lru_backward(const RgLruBackward& args, std::int64_t sequences) {
  HWY_DYNAMIC_DISPATCH(RgLruBackwardKernel)(args, sequences);
}

}  // namespace eyrie::tensor::cpu
#endif
