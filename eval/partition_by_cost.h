// Divides work among ranks into contiguous ranges of about equal cost, so that neighbours stay
// together.
#pragma once

#include <cstddef>
#include <span>
#include <utility>

namespace eyrie::eval {

// Returns the half-open range of items for `rank` of `ranks`. The ranges of all ranks are
// consecutive and cover all items.
std::pair<std::size_t, std::size_t> partition_by_cost(std::span<const double> costs, int rank,
                                                      int ranks);

}  // namespace eyrie::eval
