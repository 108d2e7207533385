// The causal convolution, forward and backward.
#include "tensor/ops/conv1d.h"

#include "tensor/setup.h"

namespace eyrie::bench {
namespace {

void Forward(benchmark::State& state) {
  use_threads(state);
  Matrices memory;
  const DType dtype = dtype_of(state);
  const Tensor x = memory.filled(dtype, kTokens, kWidth), y = memory.zeros(dtype, kTokens, kWidth),
               w = memory.filled(DType::kFloat32, 4, kWidth),
               b = memory.filled(DType::kFloat32, 1, kWidth),
               positions = memory.positions(kTokens, kLength);
  for (auto _ : state) tensor::conv1d(x, w, b, positions, kSequences, y, {});
  per_element(state, x.count());
}

void Backward(benchmark::State& state) {
  use_threads(state);
  Matrices memory;
  const DType dtype = dtype_of(state);
  const Tensor dy = memory.filled(DType::kFloat32, kTokens, kWidth),
               x = memory.filled(dtype, kTokens, kWidth),
               w = memory.filled(DType::kFloat32, 4, kWidth),
               positions = memory.positions(kTokens, kLength),
               dx = memory.zeros(dtype, kTokens, kWidth),
               dw = memory.zeros(DType::kFloat32, 4, kWidth),
               db = memory.zeros(DType::kFloat32, 1, kWidth);
  for (auto _ : state) tensor::conv1d_backward(dy, x, w, positions, kSequences, dx, dw, db);
  per_element(state, x.count());
}

BENCHMARK(Forward)->Apply(both_dtypes);
BENCHMARK(Backward)->Apply(both_dtypes);

}  // namespace
}  // namespace eyrie::bench

BENCHMARK_MAIN();
