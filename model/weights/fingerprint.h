// A name for the weights of a model: the same whatever files, ranks or layout they lie in.
#pragma once

#include <cstdint>
#include <string>

#include "model/config.h"
#include "model/weights/weight_source.h"

namespace eyrie::model {

// Over elements [first, first + count) of a row's slice: the sum of a hash of each element, its
// place in the whole tensor and the tensor's name. Sums of parts that cover a model once, in
// whatever cuts, add up (modulo 2^64).
std::uint64_t weight_sum(const parallel::ParameterRow& row, std::int64_t first, std::int64_t count,
                         const float* values);

// Of a model whose weights sum to `sum`: 16 hex digits. The configuration counts where it decides
// what is computed.
std::string fingerprint(std::uint64_t sum, const GriffinConfig& config);
// Reads all weights.
std::string fingerprint(const WeightSource& source);

}  // namespace eyrie::model
