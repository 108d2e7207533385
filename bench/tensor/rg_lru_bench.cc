// The RG-LRU without its gate products, forward and backward.
#include "tensor/ops/rg_lru.h"

#include "tensor/setup.h"

namespace eyrie::bench {
namespace {

void Forward(benchmark::State& state) {
  use_threads(state);
  Matrices memory;
  const DType dtype = dtype_of(state);
  const Tensor u = memory.filled(dtype, kTokens, kWidth),
               gate_x = memory.filled(DType::kFloat32, kTokens, kWidth),
               gate_a = memory.filled(DType::kFloat32, kTokens, kWidth),
               bias = memory.filled(DType::kFloat32, 1, kWidth),
               positions = memory.positions(kTokens, kLength),
               h = memory.zeros(dtype, kTokens, kWidth);
  // The gates hold their own results from the second round on: other numbers, the same work.
  for (auto _ : state)
    tensor::rg_lru(u, gate_x, gate_a, bias, bias, bias, positions, kSequences, h, {});
  per_element(state, u.count());
}

void Backward(benchmark::State& state) {
  use_threads(state);
  Matrices memory;
  const DType dtype = dtype_of(state);
  const auto fp32 = [&](std::int64_t rows) { return memory.filled(DType::kFloat32, rows, kWidth); };
  tensor::RgLruBackward args{.dh = fp32(kTokens),
                             .u = memory.filled(dtype, kTokens, kWidth),
                             .i = fp32(kTokens),
                             .r = fp32(kTokens),
                             .h = memory.filled(dtype, kTokens, kWidth),
                             .a_param = fp32(1),
                             .positions = memory.positions(kTokens, kLength),
                             .initial_state = {},
                             .dstate_last = {},
                             .du = fp32(kTokens),
                             .dgate_x = memory.zeros(dtype, kTokens, kWidth),
                             .dgate_a = memory.zeros(dtype, kTokens, kWidth),
                             .dbias_x = fp32(1),
                             .dbias_a = fp32(1),
                             .da_param = fp32(1),
                             .dinitial_state = {}};
  for (const Tensor& gate : {args.i, args.r}) {  // as sigmoids are: in (0, 1)
    for (std::int64_t i = 0; i < gate.count(); ++i) gate.f32()[i] = 0.5f + 0.49f * gate.f32()[i];
  }
  for (auto _ : state) tensor::rg_lru_backward(args, kSequences);
  per_element(state, args.u.count());
}

BENCHMARK(Forward)->Apply(both_dtypes);
BENCHMARK(Backward)->Apply(both_dtypes);

}  // namespace
}  // namespace eyrie::bench

BENCHMARK_MAIN();
