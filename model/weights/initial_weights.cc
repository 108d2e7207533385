// Random weights.
#include "model/weights/initial_weights.h"

#include <fmt/format.h>

#include "model/initialization.h"

namespace eyrie::model {

InitialWeights::InitialWeights(const GriffinConfig& config, std::uint64_t seed)
    : config_(config), seed_(seed) {
  check(config_);
}

std::string InitialWeights::description() const {
  return fmt::format("random weights of {}, seed {}", title_of(config_, true), seed_);
}

void InitialWeights::read(const parallel::ParameterInfo& info, std::int64_t first,
                          std::int64_t count, float* out) const {
  initial_values(info, seed_, first, count, out);
}

}  // namespace eyrie::model
