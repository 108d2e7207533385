// Ranks that compute wrongly without noticing it are found and named.
#include "trainer/silent_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "base/listing.h"
#include "support/crossing.h"

namespace eyrie::trainer {
namespace {

using test::failure_of;
using test::train_on;
using testing::HasSubstr;
using testing::Not;

// What ranks find if each computes the true digests, except `wrong`.
std::string found(parallel::MeshShape shape, const std::vector<int>& wrong) {
  const int inner = shape.context * shape.tensor;
  const int copies = shape.data == 1 ? 2 : std::min(shape.data, 3);
  std::vector<Digests> all;
  std::vector<std::string> hosts;
  for (int rank = 0; rank < shape.ranks(); ++rank) {
    Digests own;
    for (int copy = 0; copy < copies; ++copy) {
      const int owner = (rank / inner + copy) % shape.data;
      const bool bad = std::find(wrong.begin(), wrong.end(), rank) != wrong.end();
      // A single rank that is wrong is so once.
      const bool now = bad && (shape.data > 1 || copy == 1);
      own.push_back(
          static_cast<std::uint64_t>(100 * owner + rank % inner + (now ? 1000 + rank : 0)));
    }
    all.push_back(own);
    hosts.push_back("n" + std::to_string(rank / 2));
  }
  return disagreement(all, shape, hosts);
}

TEST(SilentCheck, NamesTheRankThatDiffersFromTwo) {
  for (const int data : {3, 4, 8}) {
    for (int wrong = 0; wrong < data; ++wrong) {
      EXPECT_EQ(found({.data = data}, {}), "");
      EXPECT_EQ(found({.data = data}, {wrong}),
                fmt::format("rank {} (on n{}) differs from two others in 3 of its 3 comparisons",
                            wrong, wrong / 2));
    }
  }
  EXPECT_THAT(found({.data = 3, .tensor = 2}, {3}), HasSubstr("rank 3 (on n1) differs"));
  const std::string two = found({.data = 8}, {1, 6});
  EXPECT_THAT(two, HasSubstr("rank 1 (on n0) differs"));
  EXPECT_THAT(two, HasSubstr("rank 6 (on n3) differs"));
}

TEST(SilentCheck, TwoThatDifferAreBothNamed) {
  EXPECT_EQ(found({.data = 2}, {}), "");
  const std::string both = found({.data = 2}, {1});
  EXPECT_THAT(both, HasSubstr("rank 0 (on n0)"));
  EXPECT_THAT(both, HasSubstr("rank 1 (on n0)"));
  EXPECT_THAT(both, HasSubstr("no third"));
  EXPECT_EQ(found({.data = 1}, {}), "");
  EXPECT_THAT(found({.data = 1}, {0}), HasSubstr("computed the same gradients twice"));
}

TEST(SilentCheck, ChangesNothingWhereAllAgree) {
  const test::TinyRun tiny;
  const auto plain = tiny.config("plain"), checked = tiny.config("checked", {"check_every=2"});
  EXPECT_EQ(train_on(1, plain), Outcome::kDone);
  for (const int ranks : {1, 2, 4}) {
    const auto run = tiny.config("checked" + std::to_string(ranks), {"check_every=2"});
    EXPECT_EQ(train_on(ranks, run), Outcome::kDone);
    EXPECT_TRUE(difference(test::ending_of(run, 9), test::ending_of(plain, 9)).same_bits) << ranks;
  }
  for (const char* mesh : {"mesh.tensor=2", "mesh.context=2", "mesh.zero=3"}) {
    const auto run = tiny.config(std::string("checked_") + mesh, {"check_every=2", mesh});
    EXPECT_EQ(train_on(4, run), Outcome::kDone) << mesh;
  }
}

// One bit of a weight, on one rank, just before a comparison.
TEST(SilentCheck, AFlippedBitIsFoundAndTheRunGoesBack) {
  const test::TinyRun tiny;
  const auto plain = tiny.config("plain"), run = tiny.config("run", {"check_every=3"});
  EXPECT_EQ(train_on(1, plain), Outcome::kDone);
  TrainOptions options;
  options.damage = [](std::int64_t step, int rank, const model::Parameters& parameters) {
    if (step != 6 || rank != 2) return;
    float& weight = parameters.weight(1, 0).f32()[3];
    std::uint32_t bits = 0;
    std::memcpy(&bits, &weight, sizeof(bits));
    bits ^= 1u << 20;
    std::memcpy(&weight, &bits, sizeof(bits));
  };
  const std::string failure = failure_of(4, run, options);
  EXPECT_THAT(failure, HasSubstr("before step 6"));
  EXPECT_THAT(failure, HasSubstr("rank 2 (on "));
  EXPECT_THAT(failure, HasSubstr("in 3 of its 3 comparisons"));
  EXPECT_THAT(failure, Not(HasSubstr("rank 1 (on ")));
  // Step 5, the stage's end, was saved since the comparison before step 3.
  EXPECT_EQ(test::checkpoints_of(run), (std::vector<std::int64_t>{3}));
  EXPECT_TRUE(base::is_folder(base::Path(run.directory) / "suspect" / "step-00000005"));
  EXPECT_EQ(train_on(2, run), Outcome::kDone);
  EXPECT_TRUE(difference(test::ending_of(run, 9), test::ending_of(plain, 9)).same_bits);
}

}  // namespace
}  // namespace eyrie::trainer
