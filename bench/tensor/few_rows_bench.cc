// Products of few rows at the sizes of a decoding step of the 60m model, in the layout of
// inference, and the attention of single tokens: bytes of weights or keys per second, beside a
// read-only sum of memory.
#include "tensor/ops/few_rows.h"

#include <numeric>

#include "tensor/setup.h"

namespace eyrie::bench {
namespace {

// Many weights, so that they come from memory and not from a cache.
void weights(benchmark::State& state, std::int64_t rows, std::int64_t n, std::int64_t k) {
  use_threads(state);
  Matrices memory;
  const DType dtype = dtype_of(state);
  const std::int64_t bytes = n * k * tensor::size_of(dtype);
  const std::int64_t copies = std::max<std::int64_t>(1, (std::int64_t{256} << 20) / bytes);
  const Tensor x = memory.filled(dtype, rows, k), w = memory.zeros(dtype, copies * n, k);
  const Tensor out = memory.zeros(dtype, rows, n);
  std::int64_t at = 0;
  for (auto _ : state) {
    const tensor::FewRowsProduct product{x, w.row_range(at % copies * n, n), true, {}, out};
    tensor::few_rows({&product, 1});
    ++at;
  }
  state.SetBytesProcessed(state.iterations() * bytes);
}

void OneRowSquare(benchmark::State& s) { weights(s, 1, 512, 512); }
void OneRowUp(benchmark::State& s) { weights(s, 1, 3072, 512); }
void OneRowDown(benchmark::State& s) { weights(s, 1, 512, 1536); }
void OneRowLogits(benchmark::State& s) { weights(s, 1, 32768, 512); }
void EightRowsUp(benchmark::State& s) { weights(s, 8, 3072, 512); }
void EightRowsDown(benchmark::State& s) { weights(s, 8, 512, 1536); }
void EightRowsLogits(benchmark::State& s) { weights(s, 8, 32768, 512); }

void AttentionStep(benchmark::State& state) {
  use_threads(state);
  Matrices memory;
  const DType dtype = dtype_of(state);
  const std::int64_t slots = 1024, dim = 64, heads = 8, copies = 32;
  const Tensor q = memory.filled(dtype, 1, heads * dim), out = memory.zeros(dtype, 1, heads * dim);
  const Tensor keys = memory.filled(dtype, copies * slots, dim),
               values = memory.filled(dtype, copies * slots, dim);
  std::int64_t at = 0;
  for (auto _ : state) {
    const std::int64_t first = at++ % copies * slots;
    const tensor::KeyRing ring{keys.row_range(first, slots), values.row_range(first, slots), 5000,
                               slots - 1};
    tensor::attention_step(q, {&ring, 1}, heads, out);
  }
  state.SetBytesProcessed(state.iterations() * 2 * slots * dim * tensor::size_of(dtype));
}

// What the memory gives: a sum over 256 MB by as many threads.
void ReadBandwidth(benchmark::State& state) {
  use_threads(state);
  const std::int64_t count = std::int64_t{32} << 20;
  std::vector<std::int64_t> values(static_cast<std::size_t>(count), 1);
  for (auto _ : state) {
    tensor::parallel_for(count, 1, [&](std::int64_t begin, std::int64_t end) {
      std::int64_t sum = 0;
      for (std::int64_t i = begin; i < end; ++i) sum += values[static_cast<std::size_t>(i)];
      benchmark::DoNotOptimize(sum);
    });
  }
  state.SetBytesProcessed(state.iterations() * count * 8);
}

BENCHMARK(OneRowSquare)->Apply(both_dtypes);
BENCHMARK(OneRowUp)->Apply(both_dtypes);
BENCHMARK(OneRowDown)->Apply(both_dtypes);
BENCHMARK(OneRowLogits)->Apply(both_dtypes);
BENCHMARK(EightRowsUp)->Apply(both_dtypes);
BENCHMARK(EightRowsDown)->Apply(both_dtypes);
BENCHMARK(EightRowsLogits)->Apply(both_dtypes);
BENCHMARK(AttentionStep)->Apply(both_dtypes);
BENCHMARK(ReadBandwidth)->Apply(both_dtypes);

}  // namespace
}  // namespace eyrie::bench

BENCHMARK_MAIN();
