// Does a token cost the same far out? Generates with the 10m size, keeps the states after 2,000 and
// after 100,000 tokens, and then times 500 tokens from the one and the other in turn. Prints the
// medians per token, their ratio, the bytes of the state and the process's peak memory at both
// places.
//   long_generation [TOKENS 100000] [ROUNDS 7]
#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <vector>

#include "base/philox.h"
#include "generation/decoder.h"
#include "generation/sampling.h"
#include "model/inference_parameters.h"
#include "model/weights/initial_weights.h"
#include "tensor/threads.h"

namespace {

using namespace eyrie;

double peak_memory_mb() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024.0;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

}  // namespace

int main(int argc, char** argv) {
  const std::int64_t far = argc > 1 ? std::atoll(argv[1]) : 100000;
  const int rounds = argc > 2 ? std::atoi(argv[2]) : 7;
  constexpr std::int64_t kNear = 2000, kTimed = 500;
  tensor::set_thread_count(tensor::cores());
  const model::Griffin griffin(model::preset("griffin-10m"));
  model::InferenceParameters parameters(griffin.units(), tensor::DType::kBFloat16);
  model::read_weights(model::InitialWeights(griffin.config(), 1), parameters);
  generation::Decoder decoder(griffin, parameters, griffin.config().vocabulary);
  const base::Philox random(1, "long generation");
  const generation::SamplingOptions sampling{.temperature = 1};
  std::int32_t token = 0;
  std::uint64_t made = 0;
  const auto next = [&](model::State& state) {
    const auto logits = decoder.step({&token, 1}, state);
    token = generation::sample(decoder.row(logits, 0), sampling, random, made++);
  };
  model::State state = decoder.empty_state(1), near_state = decoder.empty_state(1);
  double near_memory = 0;
  for (std::int64_t t = 1; t <= far; ++t) {
    next(state);
    if (t != kNear) continue;
    near_state = state.fork(0, 1);
    near_memory = peak_memory_mb();
  }
  fmt::print("state: {} bytes after {} tokens, {} after {}; peak memory {:.1f} and {:.1f} MB\n",
             near_state.bytes(), kNear, state.bytes(), far, near_memory, peak_memory_mb());
  std::vector<double> near_times, far_times;
  for (int round = 0; round < rounds; ++round) {
    for (const auto& [from, times] : {std::pair{&near_state, &near_times}, {&state, &far_times}}) {
      model::State here = from->fork(0, 1);
      for (std::int64_t t = 0; t < kTimed; ++t) {
        const auto start = std::chrono::steady_clock::now();
        next(here);
        times->push_back(
            std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
      }
    }
  }
  fmt::print("a token: {:.1f} us after {} tokens, {:.1f} us after {}: ratio {:.4f}\n",
             median(near_times) * 1e6, kNear, median(far_times) * 1e6, far,
             median(far_times) / median(near_times));
  return 0;
}
