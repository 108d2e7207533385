// How parameters start. A value depends on (seed, parameter name, global element index) alone, so
// it is the same however a parameter is sliced.
#pragma once

#include <cstdint>

#include "parallel/sharding/unit.h"

namespace eyrie::model {

// For ParameterInfo::initial_value. normal(0, deviation²):
float normal_value(const base::Philox& random, std::uint64_t index, double deviation);
// The RG-LRU's a_param, such that a² is uniform in [0.9², 0.999²] (official code), or a⁸ uniform in
// [0.9, 0.999] (Griffin paper, section 2.4).
float decay_value(const base::Philox& random, std::uint64_t index, double);
float paper_decay_value(const base::Philox& random, std::uint64_t index, double);

// Computes elements [first, first + count) of a parameter's slice.
void initial_values(const parallel::ParameterInfo& info, std::uint64_t seed, std::int64_t first,
                    std::int64_t count, float* out);

}  // namespace eyrie::model
