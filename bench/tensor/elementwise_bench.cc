// Everything between the products: gates, norms, sums, conversions, embedding, the optimizer.
#include "tensor/ops/elementwise.h"

#include "tensor/ops/adamw.h"
#include "tensor/ops/embedding.h"
#include "tensor/ops/rms_norm.h"
#include "tensor/ops/sums.h"
#include "tensor/setup.h"

namespace eyrie::bench {
namespace {

void GeluGate(benchmark::State& state) {
  use_threads(state);
  Matrices memory;
  const DType dtype = dtype_of(state);
  const Tensor gate = memory.filled(dtype, kTokens, kMlp),
               value = memory.filled(dtype, kTokens, kMlp),
               out = memory.zeros(dtype, kTokens, kMlp);
  for (auto _ : state) tensor::gelu_gate(gate, value, out);
  per_element(state, out.count());
}

void GeluGateBackward(benchmark::State& state) {
  use_threads(state);
  Matrices memory;
  const DType dtype = dtype_of(state);
  const Tensor dout = memory.filled(dtype, kTokens, kMlp),
               gate = memory.filled(dtype, kTokens, kMlp),
               value = memory.filled(dtype, kTokens, kMlp),
               dgate = memory.zeros(dtype, kTokens, kMlp),
               dvalue = memory.zeros(dtype, kTokens, kMlp);
  for (auto _ : state) tensor::gelu_gate_backward(dout, gate, value, dgate, dvalue);
  per_element(state, dout.count());
}

void ColumnSum(benchmark::State& state) {
  use_threads(state);
  Matrices memory;
  const Tensor x = memory.filled(dtype_of(state), kTokens, kMlp),
               out = memory.zeros(DType::kFloat32, 1, kMlp);
  for (auto _ : state) tensor::column_sum(x, out, true);
  per_element(state, x.count());
}

void Add(benchmark::State& state) {
  use_threads(state);
  Matrices memory;
  const Tensor x = memory.filled(dtype_of(state), kTokens, kWidth),
               y = memory.zeros(DType::kFloat32, kTokens, kWidth);
  for (auto _ : state) tensor::add(x, y);
  per_element(state, x.count());
}

void FromFp32(benchmark::State& state) {
  use_threads(state);
  Matrices memory;
  const Tensor x = memory.filled(DType::kFloat32, kTokens, kWidth),
               y = memory.zeros(dtype_of(state), kTokens, kWidth);
  for (auto _ : state) tensor::convert(x, y);
  per_element(state, x.count());
}

void AddRmsNorm(benchmark::State& state) {
  use_threads(state);
  Matrices memory;
  const Tensor x = memory.filled(DType::kFloat32, kTokens, kWidth),
               delta = memory.filled(DType::kFloat32, kTokens, kWidth),
               sum = memory.zeros(DType::kFloat32, kTokens, kWidth),
               scale = memory.filled(DType::kFloat32, 1, kWidth),
               y = memory.zeros(dtype_of(state), kTokens, kWidth),
               inverse = memory.zeros(DType::kFloat32, 1, kTokens);
  for (auto _ : state) tensor::add_rms_norm(x, delta, sum, scale, y, inverse);
  per_element(state, x.count());
}

void RmsNormBackward(benchmark::State& state) {
  use_threads(state);
  Matrices memory;
  const Tensor x = memory.filled(DType::kFloat32, kTokens, kWidth),
               dy = memory.filled(DType::kFloat32, kTokens, kWidth),
               dx = memory.zeros(DType::kFloat32, kTokens, kWidth),
               scale = memory.filled(DType::kFloat32, 1, kWidth),
               dscale = memory.zeros(DType::kFloat32, 1, kWidth),
               inverse = memory.filled(DType::kFloat32, 1, kTokens);
  for (auto _ : state) tensor::rms_norm_backward(dy, x, scale, inverse, dx, dscale);
  per_element(state, x.count());
}

// Tokens as often as in a text, more or less: their squares are not evenly spread.
Tensor tokens(Matrices& memory) {
  const Tensor ids = memory.positions(kTokens, kTokens);
  for (std::int64_t t = 0; t < kTokens; ++t) {
    auto& id = ids.as<std::int32_t>()[t];
    id = static_cast<std::int32_t>(static_cast<std::int64_t>(id) * id % 1009 * 8);
  }
  return ids;
}

void Embed(benchmark::State& state) {
  use_threads(state);
  Matrices memory;
  const Tensor table = memory.filled(dtype_of(state), kVocabulary, kWidth), ids = tokens(memory),
               out = memory.zeros(DType::kFloat32, kTokens, kWidth);
  for (auto _ : state) tensor::embed(table, ids, 16, out);
  per_element(state, out.count());
}

void EmbedBackward(benchmark::State& state) {
  use_threads(state);
  Matrices memory;
  const Tensor dout = memory.filled(DType::kFloat32, kTokens, kWidth), ids = tokens(memory),
               dtable = memory.zeros(DType::kFloat32, kVocabulary, kWidth);
  for (auto _ : state) tensor::embed_backward(dout, ids, 16, dtable);
  per_element(state, dout.count());
}

constexpr std::int64_t kParameters = 10'000'000;

void AdamW(benchmark::State& state) {
  use_threads(state);
  Matrices memory;
  std::vector<Tensor> all;
  for (int i = 0; i < 4; ++i) {
    all.push_back(memory.filled(DType::kFloat32, 1, kParameters));
  }
  for (std::int64_t i = 0; i < kParameters; ++i) {
    float& v = all[3].f32()[i];
    v = 0.5f + 0.4f * v;
  }
  for (auto _ : state)
    tensor::adamw(all[0], all[1], all[2], all[3], {1e-5f, 0.9f, 0.95f, 1e-8f, 0.1f, 1, 10});
  per_element(state, kParameters);
}

void SumOfSquares(benchmark::State& state) {
  use_threads(state);
  Matrices memory;
  const Tensor x = memory.filled(DType::kFloat32, 1, kParameters);
  for (auto _ : state) {
    benchmark::DoNotOptimize(tensor::sum_of_squares(x));
  }
  per_element(state, kParameters);
}

void fp32_only(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgNames({"bf16", "threads"})
      ->ArgsProduct({{0}, {1, 2}})
      ->Unit(benchmark::kMillisecond)
      ->UseRealTime();
}

BENCHMARK(GeluGate)->Apply(both_dtypes);
BENCHMARK(GeluGateBackward)->Apply(both_dtypes);
BENCHMARK(ColumnSum)->Apply(both_dtypes);
BENCHMARK(Add)->Apply(both_dtypes);
BENCHMARK(FromFp32)->Apply(both_dtypes);
BENCHMARK(AddRmsNorm)->Apply(both_dtypes);
BENCHMARK(RmsNormBackward)->Apply(fp32_only);
BENCHMARK(Embed)->Apply(both_dtypes);
BENCHMARK(EmbedBackward)->Apply(fp32_only);
BENCHMARK(AdamW)->Apply(fp32_only);
BENCHMARK(SumOfSquares)->Apply(fp32_only);

}  // namespace
}  // namespace eyrie::bench

BENCHMARK_MAIN();
