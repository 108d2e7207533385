// One training step of the 10m and 60m sizes on random tokens, 2,048 tokens per step: forward,
// backward, clipping, AdamW, as the trainer does on one rank. Counters: tokens/s, model FLOP/s and
// their share of the best product of 2048³ of the same run, and the largest resident memory so far.
#include <benchmark/benchmark.h>
#include <sys/resource.h>

#include <chrono>
#include <cmath>
#include <cstdlib>
#include <numeric>
#include <vector>

#include "base/philox.h"
#include "model/griffin.h"
#include "model/model_statistics.h"
#include "model/token_loss.h"
#include "model/training_parameters.h"
#include "parallel/sharding/unit.h"
#include "tensor/operation_times.h"
#include "tensor/ops/adamw.h"
#include "tensor/ops/matmul.h"
#include "tensor/ops/sums.h"
#include "tensor/threads.h"

namespace {

using namespace eyrie;

struct Gradients : model::GradientSink {
  explicit Gradients(const std::vector<parallel::Unit>& units) {
    for (const auto& unit : units) {
      buffers.emplace_back(static_cast<std::size_t>(unit.size) * 4);
      buffers.back().zero();
    }
  }
  tensor::Tensor gradient(std::size_t unit) override { return buffers[unit].row(); }
  void finished(std::size_t) override {}
  std::vector<tensor::Buffer> buffers;
};

// Arguments: size (10 or 60), sequence length, 0 fp32 or 1 bf16, threads.
void TrainStep(benchmark::State& state) {
  auto config = model::preset(state.range(0) == 10 ? "griffin-10m" : "griffin-60m");
  config.window = 1023;  // as the peers: 1,024 keys, the query's own among them
  config.scale_embedding = true;
  config.soft_cap = 30;
  const tensor::DType dtype =
      state.range(2) == 0 ? tensor::DType::kFloat32 : tensor::DType::kBFloat16;
  tensor::set_thread_count(static_cast<int>(state.range(3)));
  const std::int64_t length = state.range(1), sequences = 2048 / length, n = sequences * length;
  const model::Griffin griffin(config);
  model::TrainingParameters parameters(griffin.units(), dtype);
  parameters.initialise(1);
  Gradients gradients(griffin.units());
  std::vector<tensor::Buffer> moment1, moment2;
  for (const auto& unit : griffin.units()) {
    for (auto* moments : {&moment1, &moment2}) {
      moments->emplace_back(static_cast<std::size_t>(unit.size) * 4);
      moments->back().zero();
    }
  }
  std::vector<std::int32_t> tokens, targets, positions;
  std::vector<float> weight;
  const base::Philox random(1, "bench");
  for (std::int64_t i = 0; i < n; ++i) {
    tokens.push_back(static_cast<std::int32_t>(random.uniform(static_cast<std::uint64_t>(i)) *
                                               static_cast<double>(config.vocabulary)));
    positions.push_back(static_cast<std::int32_t>(i % length));
    weight.push_back(i % length + 1 < length ? 1.0f : 0.0f);
  }
  targets.assign(tokens.begin() + 1, tokens.end());
  targets.push_back(0);
  model::Workspace workspace;
  std::int64_t step = 0;
  const auto train_step = [&] {
    const float scale = 1.0f / static_cast<float>(sequences * (length - 1));
    const double loss = model::token_loss(
        griffin, parameters,
        {{sequences, length, tensor::host_row(tokens), tensor::host_row(positions)},
         tensor::host_row(targets),
         tensor::host_row(weight)},
        workspace, scale, gradients);
    benchmark::DoNotOptimize(loss);
    std::vector<tensor::Tensor> blocks;
    for (std::size_t u = 0; u < griffin.units().size(); ++u) {
      const parallel::Unit& unit = griffin.units()[u];
      parallel::for_blocks(unit, 0, unit.size, [&](const auto& block) {
        blocks.push_back(gradients.buffers[u].row().column_range(block.begin, block.count()));
      });
    }
    std::vector<double> sums(blocks.size());
    tensor::sums_of_squares(blocks, sums);
    const double squares = std::accumulate(sums.begin(), sums.end(), 0.0);
    ++step;
    for (std::size_t u = 0; u < griffin.units().size(); ++u) {
      tensor::adamw(parameters.masters(u), gradients.buffers[u].row(), moment1[u].row(),
                    moment2[u].row(),
                    {3e-4f, 0.9f, 0.95f, 1e-8f, 0.1f,
                     squares > 1 ? static_cast<float>(1 / std::sqrt(squares)) : 1.0f, step});
      parameters.refresh(u);
    }
  };
  train_step();  // memory is allocated, products are prepared
  for (auto _ : state) train_step();
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);  // of the process: with one benchmark in it, of its steps
  state.counters["peak_MB"] = static_cast<double>(usage.ru_maxrss) * 1024 / 1e6;
  state.counters["tokens/s"] =
      benchmark::Counter(static_cast<double>(n * state.iterations()), benchmark::Counter::kIsRate);
  const double flops =
      static_cast<double>(n * state.iterations()) * model::token_flops(griffin, length).all();
  state.counters["FLOP/s"] = benchmark::Counter(flops, benchmark::Counter::kIsRate);
  state.counters["share_of_peak"] =
      benchmark::Counter(flops / tensor::measure_matmul_peak(dtype), benchmark::Counter::kIsRate);
  // One more step, operation by operation, as shares of its time.
  tensor::record_operation_times(true);
  const auto start = std::chrono::steady_clock::now();
  train_step();
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
  double products = 0;
  for (const tensor::OperationTime& operation : tensor::operation_times()) {
    if (operation.name.starts_with("matmul")) {
      products += operation.seconds;
      if (std::getenv("EYRIE_BENCH_PRODUCTS") != nullptr)
        state.counters["% " + operation.name] = 100 * operation.seconds / taken.count();
    } else {
      state.counters["% " + operation.name] = 100 * operation.seconds / taken.count();
    }
  }
  state.counters["% products"] = 100 * products / taken.count();
  tensor::record_operation_times(false);
}

BENCHMARK(TrainStep)
    ->ArgNames({"size", "length", "bf16", "threads"})
    ->ArgsProduct({{10, 60}, {512, 2048}, {0, 1}, {2}})
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();

}  // namespace

BENCHMARK_MAIN();
