#include "eval/partition_by_cost.h"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

namespace eyrie::eval {
namespace {

TEST(Deal, CoversEverythingInOrder) {
  for (const std::size_t items : {0u, 1u, 2u, 7u, 100u}) {
    std::vector<double> costs(items);
    for (std::size_t i = 0; i < items; ++i) costs[i] = static_cast<double>((i * 37) % 11 + 1);
    for (const int ranks : {1, 2, 3, 8, 200}) {
      std::size_t next = 0;
      for (int rank = 0; rank < ranks; ++rank) {
        const auto [begin, end] = partition_by_cost(costs, rank, ranks);
        EXPECT_EQ(begin, next);
        EXPECT_LE(begin, end);
        next = end;
      }
      EXPECT_EQ(next, items);
    }
  }
}

TEST(Deal, SharesTheCostAndNotTheNumber) {
  std::vector<double> costs(100, 1.0);
  std::fill(costs.begin(), costs.begin() + 10, 9.0);  // 90 + 90
  EXPECT_EQ(partition_by_cost(costs, 0, 2).second, 10u);
  for (std::size_t i = 0; i < costs.size(); ++i) costs[i] = static_cast<double>((i * 37) % 11 + 1);
  const double total = std::accumulate(costs.begin(), costs.end(), 0.0);
  for (int rank = 0; rank < 4; ++rank) {
    const auto [begin, end] = partition_by_cost(costs, rank, 4);
    EXPECT_NEAR(std::accumulate(costs.begin() + static_cast<std::ptrdiff_t>(begin),
                                costs.begin() + static_cast<std::ptrdiff_t>(end), 0.0),
                total / 4, 12);
  }
}

}  // namespace
}  // namespace eyrie::eval
