// The gradient tree: bits against a recursive reference, for every rank count that fits; refused
// rank counts.
#include "parallel/sharding/gradient_tree.h"

#include <gtest/gtest.h>

#include <set>

#include "base/error.h"
#include "parallel/sharding/gradient_reference.h"
#include "tensor/ops/sums.h"

namespace eyrie::parallel {
namespace {

class GradientTreeTest : public testing::TestWithParam<int> {};

TEST_P(GradientTreeTest, SameBitsAsTheReferenceOnEveryRankCount) {
  const std::int64_t micro_shards = GetParam();
  for (const std::int64_t size : {0, 1, 17, 2500}) {
    const std::vector<float> expected = reference_sum(micro_shards, size);
    for (const std::int64_t ranks : fitting_rank_counts(micro_shards)) {
      const MicroShardPlan plan(micro_shards, static_cast<int>(ranks));
      std::vector<std::vector<float>> sums;
      for (int rank = 0; rank < ranks; ++rank) sums.push_back(local_sum(plan, rank, size));
      std::vector<tensor::Tensor> parts;
      for (auto& sum : sums) parts.push_back(tensor::host_row(sum));
      tensor::sum_tree(parts, plan.ranks_in_group());
      EXPECT_TRUE(same_bits(sums[0], expected)) << ranks << " ranks, size " << size;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(MicroShards, GradientTreeTest,
                         testing::Values(1, 2, 3, 4, 6, 8, 12, 20, 24),
                         testing::PrintToStringParamName());

// The values are such that the order matters: else the tests above could not fail.
TEST(GradientTreeTest, TheOrderOfTheSumsShowsInTheBits) {
  const std::int64_t size = 2500;
  for (const std::int64_t micro_shards : {3, 4, 12}) {
    std::vector<float> in_order = shard_gradient(micro_shards - 1, size);
    for (std::int64_t shard = micro_shards - 2; shard >= 0; --shard) {
      const std::vector<float> next = shard_gradient(shard, size);
      for (std::int64_t i = 0; i < size; ++i) in_order[i] += next[i];
    }
    EXPECT_FALSE(same_bits(in_order, reference_sum(micro_shards, size))) << micro_shards;
  }
}

TEST(GradientTreeTest, FewBuffers) {
  // Shards and partial sums alive at once: one for each level, one more for finished groups, one
  // being written.
  const std::vector<std::pair<std::int64_t, int>> expected = {{1, 1}, {2, 2},  {3, 2}, {4, 3},
                                                              {8, 4}, {12, 4}, {24, 5}};
  for (const auto& [micro_shards, buffers] : expected) {
    GradientAccumulator accumulator(MicroShardPlan(micro_shards, 1), 0, 64, tensor::Device::kCpu);
    for (int step = 0; step < 3; ++step) {
      for (std::int64_t shard = 0; shard < micro_shards; ++shard) {
        const tensor::Tensor buffer = accumulator.buffer();
        EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.data()) % 64, 0u);
        std::fill_n(buffer.f32(), buffer.count(), 1.0f);
        EXPECT_FALSE(accumulator.complete());
        accumulator.add();
      }
      EXPECT_TRUE(accumulator.complete());
      EXPECT_EQ(accumulator.sum().f32()[63], static_cast<float>(micro_shards));
      accumulator.reset();
    }
    EXPECT_EQ(accumulator.buffers(), buffers) << micro_shards;
  }
}

TEST(MicroShardPlanTest, EveryMicroShardHasOneOwner) {
  for (const std::int64_t micro_shards : {1, 6, 8, 24}) {
    for (const std::int64_t ranks : fitting_rank_counts(micro_shards)) {
      const MicroShardPlan plan(micro_shards, static_cast<int>(ranks));
      std::int64_t next = 0;
      for (int rank = 0; rank < ranks; ++rank) {
        EXPECT_EQ(plan.first(rank), next);
        next += plan.count(rank);
      }
      EXPECT_EQ(next, micro_shards);
    }
  }
}

TEST(MicroShardPlanTest, FittingRankCounts) {
  using Counts = std::vector<std::int64_t>;
  EXPECT_EQ(fitting_rank_counts(1), Counts({1}));
  EXPECT_EQ(fitting_rank_counts(3), Counts({1, 3}));
  EXPECT_EQ(fitting_rank_counts(8), Counts({1, 2, 4, 8}));
  EXPECT_EQ(fitting_rank_counts(12), Counts({1, 3, 6, 12}));
  EXPECT_EQ(fitting_rank_counts(24), Counts({1, 3, 6, 12, 24}));
}

std::string refusal(std::int64_t micro_shards, int ranks) {
  try {
    MicroShardPlan plan(micro_shards, ranks);
  } catch (const base::InputError& error) {
    return error.what();
  }
  return "";
}

TEST(MicroShardPlanTest, OtherRankCountsAreRefusedNamingThoseThatFit) {
  for (const int ranks : {2, 4, 5, 8, 24}) {
    const std::string text = refusal(12, ranks);
    EXPECT_NE(
        text.find("micro_shards: 12: does not split over " + std::to_string(ranks) + " data ranks"),
        std::string::npos)
        << text;
    EXPECT_NE(text.find("Rank counts that fit: 1, 3, 6, 12."), std::string::npos) << text;
  }
  EXPECT_NE(refusal(12, 4).find("set micro_shards to 16"), std::string::npos);
  EXPECT_NE(refusal(8, 3).find("set micro_shards to 12"), std::string::npos);
  EXPECT_NE(refusal(0, 1).find("micro_shards: 0"), std::string::npos);
  EXPECT_NE(refusal(-4, 1).find("micro_shards: -4"), std::string::npos);
}

}  // namespace
}  // namespace eyrie::parallel
