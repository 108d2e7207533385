// A reduce-scatter along the gradient tree, as GradientSum makes it, with nothing around it.
#pragma once

#include <cstdint>
#include <span>

#include "base/error.h"
#include "parallel/communication/exchange.h"
#include "parallel/sharding/gradient_tree.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/sums.h"

namespace eyrie::test {

// Collective. `buffer` holds this rank's local sum; afterwards this rank's slice of it holds the
// sum over all ranks. Returns the bytes sent.
inline std::int64_t reduce_scatter(parallel::Communicator& ranks, const tensor::Tensor& buffer,
                                   const parallel::Cuts& cuts, const parallel::MicroShardPlan& plan,
                                   parallel::ExchangeSpace& space) {
  EYRIE_CHECK(plan.ranks() == ranks.size(), "a plan for another number of ranks");
  if (ranks.size() == 1) return 0;
  const std::int64_t begin = cuts[ranks.rank()];
  const auto combine = [&](std::span<const tensor::Tensor> parts, std::int64_t at) {
    tensor::sum_tree(parts, plan.ranks_in_group());
    const tensor::Tensor to = buffer.column_range(begin + at, parts[0].count());
    if (parts[0].data() != to.data()) tensor::copy(parts[0], to);
  };
  return parallel::scatter_partial_sums(ranks, buffer, cuts, tensor::DType::kFloat32, combine,
                                        space);
}

}  // namespace eyrie::test
