// A reduce-scatter along the gradient tree, as GradientSum makes it, with nothing around it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "base/error.h"
#include "parallel/communication/exchange.h"
#include "parallel/sharding/gradient_tree.h"

namespace eyrie::test {

// Collective. `buffer` holds this rank's local sum; afterwards this rank's slice of it holds the
// sum over all ranks. Returns the bytes sent.
inline std::int64_t reduce_scatter(parallel::Communicator& ranks, std::span<float> buffer,
                                   std::span<const std::int64_t> cuts,
                                   const parallel::MicroShardPlan& plan,
                                   parallel::ExchangeSpace& space) {
  EYRIE_CHECK(plan.ranks() == ranks.size(), "a plan for another number of ranks");
  if (ranks.size() == 1) return 0;
  float* const slice = buffer.data() + cuts[static_cast<std::size_t>(ranks.rank())];
  const auto combine = [&](std::span<float* const> parts, std::int64_t at, std::int64_t count) {
    parallel::add_rank_sums(plan, parts, count);
    if (parts[0] != slice + at) std::copy_n(parts[0], count, slice + at);
  };
  return parallel::scatter_partial_sums(ranks, buffer, cuts, tensor::DType::kFloat32, combine,
                                        space);
}

}  // namespace eyrie::test
