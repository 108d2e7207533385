// Initial values from counter-based random numbers.
#include "model/initialization.h"

#include <algorithm>
#include <cmath>

#include "tensor/threads.h"

namespace eyrie::model {
namespace {

// The a_param of a decay a: ln(1/a − 1), which is −Λ in the paper's a = σ(Λ).
float decay_parameter(double log_a) { return static_cast<float>(std::log(std::expm1(-log_a))); }

}  // namespace

float normal_value(const base::Philox& random, std::uint64_t index, double deviation) {
  return static_cast<float>(deviation * random.normal(index));
}

// recurrentgemma's init: a² = U (0.999² − 0.9²) + 0.9² + 1e-8.
float decay_value(const base::Philox& random, std::uint64_t index, double) {
  constexpr double low = 0.9 * 0.9, high = 0.999 * 0.999;
  return decay_parameter(0.5 * std::log(random.uniform(index) * (high - low) + low + 1e-8));
}

// a^c = U (0.999 − 0.9) + 0.9 with c = 8.
float paper_decay_value(const base::Philox& random, std::uint64_t index, double) {
  return decay_parameter(std::log(random.uniform(index) * (0.999 - 0.9) + 0.9) / 8);
}

void initial_values(const parallel::ParameterInfo& info, std::uint64_t seed, std::int64_t first,
                    std::int64_t count, float* out) {
  if (info.initial_value == nullptr) {
    std::fill_n(out, count, 0.0f);
    return;
  }
  const base::Philox random(seed, info.name);
  tensor::parallel_for(count, 4096, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i)
      out[i] = info.initial_value(
          random, static_cast<std::uint64_t>(parallel::global_index(info, first + i)),
          info.deviation);
  });
}

}  // namespace eyrie::model
