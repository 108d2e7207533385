// A fingerprint of a model's weights: the same whatever files, ranks or layout they are stored in.
#pragma once

#include <cstdint>
#include <string>

#include "model/config.h"
#include "model/weights/weight_source.h"

namespace eyrie::model {

// Returns the sum over elements [first, first + count) of a parameter's slice of a hash of the
// element, its index in the whole tensor and the tensor's name. The sums of parts that cover a
// model once add up to the same total, however it is cut (modulo 2^64).
std::uint64_t weight_sum(const parallel::ParameterInfo& info, std::int64_t first,
                         std::int64_t count, const float* values);

// Returns 16 hex digits for a model whose weight sums add up to `sum`. Includes the configuration,
// as far as it affects what is computed.
std::string fingerprint(std::uint64_t sum, const GriffinConfig& config);
// Reads all weights.
std::string fingerprint(const WeightSource& source);

}  // namespace eyrie::model
