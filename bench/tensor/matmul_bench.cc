// The products of one training step of the 10m model: forward, gradients of weights and of inputs.
#include "tensor/setup.h"

namespace eyrie::bench {
namespace {

// out (m, n) = op(a) · op(b) over k; `blocks` of them side by side, as the gates' products are.
void product(benchmark::State& state, std::int64_t m, std::int64_t n, std::int64_t k,
             tensor::MatmulOptions options, bool same_out = false, std::int64_t blocks = 1) {
  use_threads(state);
  Matrices memory;
  const DType in = dtype_of(state), to = same_out ? in : DType::kFloat32;
  const Tensor a = options.transpose_a ? memory.filled(in, k, m) : memory.filled(in, m, k * blocks);
  const Tensor b = options.transpose_b ? memory.filled(in, n, k) : memory.filled(in, k * blocks, n);
  const Tensor out = memory.zeros(to, m, n * blocks);
  for (auto _ : state) {
    for (std::int64_t i = 0; i < blocks; ++i) {
      if (blocks == 1) {
        tensor::matmul(a, b, out, options);
      } else {
        tensor::matmul(a.column_range(i * k, k), b.row_range(i * k, k), out.column_range(i * n, n),
                       options);
      }
    }
  }
  per_flop(state, 2.0 * static_cast<double>(m * n * k * blocks));
}

void Square(benchmark::State& s) { product(s, kTokens, kWidth, kWidth, {}, true); }
void MlpUp(benchmark::State& s) { product(s, kTokens, kMlp, kWidth, {}, true); }
void MlpDown(benchmark::State& s) { product(s, kTokens, kWidth, kMlp, {}); }
void Gates(benchmark::State& s) { product(s, kTokens, kHeadDim, kHeadDim, {}, false, kHeads); }
void Logits(benchmark::State& s) {
  product(s, kTokens, kVocabulary, kWidth, {.transpose_b = true});
}
void MlpUpWeight(benchmark::State& s) { product(s, kWidth, kMlp, kTokens, {.transpose_a = true}); }
void MlpUpInput(benchmark::State& s) {
  product(s, kTokens, kWidth, kMlp, {.transpose_b = true, .accumulate = true});
}
void SquareWeight(benchmark::State& s) {
  product(s, kWidth, kWidth, kTokens, {.transpose_a = true});
}
void LogitsWeight(benchmark::State& s) {
  product(s, kVocabulary, kWidth, kTokens, {.transpose_a = true, .accumulate = true});
}
void LogitsInput(benchmark::State& s) { product(s, kTokens, kWidth, kVocabulary, {}); }

BENCHMARK(Square)->Apply(both_dtypes);
BENCHMARK(MlpUp)->Apply(both_dtypes);
BENCHMARK(MlpDown)->Apply(both_dtypes);
BENCHMARK(Gates)->Apply(both_dtypes);
BENCHMARK(Logits)->Apply(both_dtypes);
BENCHMARK(SquareWeight)->Apply(both_dtypes);
BENCHMARK(MlpUpWeight)->Apply(both_dtypes);
BENCHMARK(MlpUpInput)->Apply(both_dtypes);
BENCHMARK(LogitsWeight)->Apply(both_dtypes);
BENCHMARK(LogitsInput)->Apply(both_dtypes);

}  // namespace
}  // namespace eyrie::bench

BENCHMARK_MAIN();
