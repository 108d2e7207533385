// Local attention over sequences shorter and longer than the window, and rotary positions.
#include "tensor/ops/attention.h"

#include "tensor/setup.h"

namespace eyrie::bench {
namespace {

constexpr std::int64_t kWindow = 1024;

struct Layer {
  Layer(DType dtype, std::int64_t length)
      : shape{kTokens / length, length, length, kHeads, kHeadDim, kWindow},
        q(memory.filled(dtype, kTokens, kWidth)),
        k(memory.filled(dtype, kTokens, kHeadDim)),
        v(memory.filled(dtype, kTokens, kHeadDim)),
        first_key(memory.positions(kTokens, length)),
        out(memory.zeros(dtype, kTokens, kWidth)),
        log_sum(memory.zeros(DType::kFloat32, kTokens, kHeads)) {
    for (std::int64_t t = 0; t < kTokens; ++t) {
      auto& first = first_key.as<std::int32_t>()[t];
      first = std::max<std::int32_t>(0, first - static_cast<std::int32_t>(kWindow));
      pairs += static_cast<double>(t % length + 1 - first) * kHeads;
    }
    tensor::attention(q, k, v, first_key, shape, out, log_sum, scratch);
  }
  Matrices memory;
  tensor::AttentionShape shape;
  Tensor q, k, v, first_key, out, log_sum;
  tensor::Arena scratch;
  double pairs = 0;  // (query, visible key) pairs over all heads
};

// FLOP as the model's formula counts them: what is seen, not what a tile computes.
void Forward(benchmark::State& state, std::int64_t length) {
  use_threads(state);
  Layer layer(dtype_of(state), length);
  for (auto _ : state) {
    tensor::attention(layer.q, layer.k, layer.v, layer.first_key, layer.shape, layer.out,
                      layer.log_sum, layer.scratch);
  }
  per_flop(state, 4.0 * kHeadDim * layer.pairs);
}

void Backward(benchmark::State& state, std::int64_t length) {
  use_threads(state);
  Layer layer(dtype_of(state), length);
  const Tensor dout = layer.memory.filled(dtype_of(state), kTokens, kWidth),
               dq = layer.memory.zeros(DType::kFloat32, kTokens, kWidth),
               dk = layer.memory.zeros(DType::kFloat32, kTokens, kHeadDim),
               dv = layer.memory.zeros(DType::kFloat32, kTokens, kHeadDim);
  for (auto _ : state) {
    tensor::attention_backward(dout, layer.q, layer.k, layer.v, layer.out, layer.log_sum,
                               layer.first_key, layer.shape, dq, dk, dv, layer.scratch);
  }
  per_flop(state, 10.0 * kHeadDim * layer.pairs);  // the scores once more, four gradients
}

void Rope(benchmark::State& state) {
  use_threads(state);
  Matrices memory;
  const Tensor x = memory.filled(dtype_of(state), kTokens, kWidth),
               positions = memory.positions(kTokens, kLength),
               cosines = memory.zeros(DType::kFloat32, kTokens, kHeadDim / 4),
               sines = memory.zeros(DType::kFloat32, kTokens, kHeadDim / 4);
  tensor::rope_angles(positions, kHeadDim, cosines, sines);
  for (auto _ : state) tensor::rope(x, cosines, sines, false, x);
  per_element(state, x.count());
}

void RopeAngles(benchmark::State& state) {
  use_threads(state);
  Matrices memory;
  const Tensor positions = memory.positions(kTokens, kLength),
               cosines = memory.zeros(DType::kFloat32, kTokens, kHeadDim / 4),
               sines = memory.zeros(DType::kFloat32, kTokens, kHeadDim / 4);
  for (auto _ : state) tensor::rope_angles(positions, kHeadDim, cosines, sines);
  per_element(state, cosines.count());
}

BENCHMARK_CAPTURE(Forward, 512, 512)->Apply(both_dtypes);
BENCHMARK_CAPTURE(Forward, 2048, 2048)->Apply(both_dtypes);
BENCHMARK_CAPTURE(Backward, 512, 512)->Apply(both_dtypes);
BENCHMARK_CAPTURE(Backward, 2048, 2048)->Apply(both_dtypes);
BENCHMARK(Rope)->Apply(both_dtypes);
BENCHMARK(RopeAngles)->Apply(both_dtypes);

}  // namespace
}  // namespace eyrie::bench

BENCHMARK_MAIN();
