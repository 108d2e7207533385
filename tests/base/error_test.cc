// Ranks in messages, the nearest word, and the death of a broken invariant.
#include "base/error.h"

#include <gtest/gtest.h>

#include <thread>

namespace eyrie::base {
namespace {

TEST(Error, RankIsOfTheThread) {
  EXPECT_EQ(rank(), -1);
  EXPECT_EQ(with_rank("lost"), "lost");
  set_rank(3);
  EXPECT_EQ(with_rank("lost"), "rank 3: lost");
  int other = 0;
  std::thread([&] { other = rank(); }).join();
  EXPECT_EQ(other, -1);
  set_rank(-1);
}

TEST(Error, InputErrorIsAnError) {
  EXPECT_THROW(throw InputError("x"), Error);
  EXPECT_THROW(throw Error("x"), std::runtime_error);
}

TEST(Error, NearestFindsSlips) {
  const std::vector<std::string> keys = {"steps", "seed", "learning_rate", "mesh"};
  EXPECT_EQ(nearest("stesp", keys), "steps");
  EXPECT_EQ(nearest("step", keys), "steps");
  EXPECT_EQ(nearest("Seed", keys), "seed");
  EXPECT_EQ(nearest("lerning-rate", keys), "learning_rate");
}

TEST(Error, NearestLeavesStrangersAlone) {
  EXPECT_EQ(nearest("data", {"steps", "seed", "mesh"}), "");
  EXPECT_EQ(nearest("x", {"y"}), "");
  EXPECT_EQ(nearest("", {"steps"}), "");
  EXPECT_EQ(nearest("steps", {}), "");
}

TEST(Error, NearestTakesTheClosest) {
  EXPECT_EQ(nearest("micro_shard", {"micro_batch", "micro_shards"}), "micro_shards");
}

TEST(ErrorDeathTest, CheckPrintsRankPlaceConditionAndTrace) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        set_rank(5);
        EYRIE_CHECK(1 + 1 == 3, std::string("sums are off"));
      },
      "rank 5: .*error_test.cc:[0-9]+: check failed: 1 \\+ 1 == 3: sums are off\n(.*\n)*.*main");
}

TEST(Error, CheckThatHoldsDoesNothing) { EYRIE_CHECK(true, std::string("never")); }

}  // namespace
}  // namespace eyrie::base
