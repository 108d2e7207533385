// Dealing work out to ranks in contiguous ranges of equal cost, so that neighbours stay together.
#pragma once

#include <cstddef>
#include <span>
#include <utility>

namespace eyrie::eval {

// The half-open range of items of `rank` of `ranks`; the ranges of all ranks follow each other and
// cover everything.
std::pair<std::size_t, std::size_t> deal(std::span<const double> costs, int rank, int ranks);

}  // namespace eyrie::eval
