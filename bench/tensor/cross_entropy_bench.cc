// Loss and gradient of a step's logits, with the soft cap; scores of logits.
#include "tensor/ops/cross_entropy.h"

#include <cstring>

#include "tensor/setup.h"

namespace eyrie::bench {
namespace {

constexpr float kCap = 30;

struct Layer {
  explicit Layer(DType dtype)
      : source(memory.filled(DType::kFloat32, kTokens, kVocabulary)),
        logits(memory.zeros(DType::kFloat32, kTokens, kVocabulary)),
        targets(memory.positions(kTokens, kLength)),
        weight(memory.zeros(DType::kFloat32, 1, kTokens)),
        nll(memory.zeros(DType::kFloat32, 1, kTokens)),
        dlogits(memory.zeros(dtype, kTokens, kVocabulary)) {
    std::fill(weight.f32(), weight.f32() + kTokens, 1.0f);
    std::memcpy(logits.data(), source.data(), static_cast<std::size_t>(logits.count()) * 4);
  }
  Matrices memory;
  Tensor source, logits, targets, weight, nll, dlogits;
};

// The logits are capped again every round: other numbers, the same work.
void Loss(benchmark::State& state) {
  use_threads(state);
  Layer layer(dtype_of(state));
  for (auto _ : state)
    tensor::cross_entropy(layer.logits, layer.targets, layer.weight, kCap, layer.nll, {}, 1);
  per_element(state, layer.logits.count());
}

void LossAndGradient(benchmark::State& state) {
  use_threads(state);
  Layer layer(dtype_of(state));
  for (auto _ : state) {
    tensor::cross_entropy(layer.logits, layer.targets, layer.weight, kCap, layer.nll, layer.dlogits,
                          1e-3f);
  }
  per_element(state, layer.logits.count());
}

void Scores(benchmark::State& state) {
  use_threads(state);
  Layer layer(dtype_of(state));
  const Tensor argmax = layer.memory.positions(kTokens, kLength);
  for (auto _ : state) tensor::score_logits(layer.logits, kCap, layer.nll, argmax);
  per_element(state, layer.logits.count());
}

BENCHMARK(Loss)->Apply(both_dtypes);
BENCHMARK(LossAndGradient)->Apply(both_dtypes);
BENCHMARK(Scores)->Apply(both_dtypes);

}  // namespace
}  // namespace eyrie::bench

BENCHMARK_MAIN();
