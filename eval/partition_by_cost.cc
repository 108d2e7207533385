// An item goes to the rank whose share of the total cost contains the item's midpoint.
#include "eval/partition_by_cost.h"

#include <numeric>

namespace eyrie::eval {

std::pair<std::size_t, std::size_t> partition_by_cost(std::span<const double> costs, int rank,
                                                      int ranks) {
  const double total = std::accumulate(costs.begin(), costs.end(), 0.0);
  const auto first_at = [&](int share) {
    if (share == 0) return std::size_t{0};
    if (share == ranks) return costs.size();
    const double border = total * share / ranks;
    double before = 0;
    for (std::size_t i = 0; i < costs.size(); ++i) {
      if (before + costs[i] / 2 >= border) return i;
      before += costs[i];
    }
    return costs.size();
  };
  return {first_at(rank), first_at(rank + 1)};
}

}  // namespace eyrie::eval
