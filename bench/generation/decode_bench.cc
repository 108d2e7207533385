// Decoding with the 60m size: prompts of 512, 2048 and 8192 tokens, one or eight sequences side by
// side, greedy. Counters: new tokens/s over all sequences, GB/s of weights and state read, and
// their share of what a read-only sum of memory reaches in the same run; prefill tokens/s.
#include <benchmark/benchmark.h>

#include <chrono>
#include <map>
#include <vector>

#include "base/philox.h"
#include "generation/decoder.h"
#include "generation/sampling.h"
#include "model/inference_parameters.h"
#include "model/training_parameters.h"
#include "model/weights/initial_weights.h"
#include "tensor/threads.h"

namespace {

using namespace eyrie;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// The peers' model: 1,024 keys a query, its own among them.
model::GriffinConfig peer_model() {
  auto config = model::preset("griffin-60m");
  config.window = 1023;
  config.scale_embedding = true;
  config.soft_cap = 30;
  return config;
}

struct Model {
  // Bits per weight: 32, 16, or 8 beside bf16.
  explicit Model(std::int64_t bits)
      : griffin(peer_model()),
        parameters(griffin.units(), bits == 32 ? tensor::DType::kFloat32 : tensor::DType::kBFloat16,
                   true, bits == 8) {
    model::read_weights(model::InitialWeights(griffin.config(), 1), parameters);
  }
  model::Griffin griffin;
  model::InferenceParameters parameters;
};

// Bytes per second of a sum over 256 MB, by all threads; best of five.
double read_bandwidth() {
  const std::int64_t count = std::int64_t{32} << 20;
  std::vector<std::int64_t> values(static_cast<std::size_t>(count), 1);
  double best = 0;
  for (int i = 0; i < 6; ++i) {
    const auto start = Clock::now();
    tensor::parallel_for(count, 1, [&](std::int64_t begin, std::int64_t end) {
      std::int64_t sum = 0;
      for (std::int64_t j = begin; j < end; ++j) sum += values[static_cast<std::size_t>(j)];
      benchmark::DoNotOptimize(sum);
    });
    if (i > 0) best = std::max(best, static_cast<double>(count) * 8 / seconds_since(start));
  }
  return best;
}

// Arguments: bits per weight, sequences, tokens of the prompt.
void Decode(benchmark::State& state) {
  const std::int64_t bits = state.range(0);
  tensor::set_thread_count(tensor::cores());
  static std::map<std::int64_t, std::unique_ptr<Model>> models;
  auto& made = models[bits];
  if (!made) made = std::make_unique<Model>(bits);
  const std::int64_t sequences = state.range(1), length = state.range(2);
  generation::Decoder decoder(made->griffin, made->parameters, made->griffin.config().vocabulary);
  const base::Philox random(1, "bench");
  std::vector<std::int32_t> prompt;
  for (std::int64_t i = 0; i < length; ++i) {
    prompt.push_back(
        static_cast<std::int32_t>(random.uniform(static_cast<std::uint64_t>(i)) * 32768));
  }
  model::State all = decoder.empty_state(0);
  const auto start = Clock::now();
  for (std::int64_t s = 0; s < sequences; ++s) {
    model::State one = decoder.empty_state(1);
    decoder.read(prompt, one);
    all.append(one, 0);
  }
  const double prefill = seconds_since(start);
  std::vector<std::int32_t> next(static_cast<std::size_t>(sequences), 5);
  for (auto _ : state) {
    const auto logits = decoder.step(next, all);
    for (std::int64_t s = 0; s < sequences; ++s) {
      next[static_cast<std::size_t>(s)] =
          generation::sample(decoder.row(logits, s), {.temperature = 0}, random, 0);
    }
  }
  const auto steps = static_cast<double>(state.iterations());
  const double bytes =
      static_cast<double>(model::parameter_count(made->griffin.units()) * bits / 8) +
      static_cast<double>(all.bytes());
  state.counters["tokens/s"] =
      benchmark::Counter(steps * static_cast<double>(sequences), benchmark::Counter::kIsRate);
  state.counters["bytes/s"] = benchmark::Counter(steps * bytes, benchmark::Counter::kIsRate);
  state.counters["of_bandwidth"] =
      benchmark::Counter(steps * bytes / read_bandwidth(), benchmark::Counter::kIsRate);
  state.counters["prefill_tokens/s"] = static_cast<double>(sequences * length) / prefill;
}

BENCHMARK(Decode)
    ->ArgNames({"weights", "sequences", "prompt"})
    ->ArgsProduct({{32, 16, 8}, {1, 8, 32}, {512, 2048, 8192}})
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();

}  // namespace

BENCHMARK_MAIN();
