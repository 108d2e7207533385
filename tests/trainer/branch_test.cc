// Branches: a new run goes on from a trunk's checkpoint to the bits of one that never stopped.
#include "trainer/branch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/listing.h"
#include "support/crossing.h"

namespace eyrie::trainer {
namespace {

using test::train_on;
using testing::HasSubstr;

std::string refusal_of(const base::Path& trunk, std::int64_t step, const RunConfig& run) {
  try {
    branch_run(trunk, step, run);
  } catch (const base::InputError& error) {
    return error.what();
  }
  return "";
}

TEST(Branch, GoesOnToTheBitsOfTheTrunk) {
  const test::TinyRun tiny;
  const auto trunk = tiny.config("trunk"), branch = tiny.config("branch");
  ASSERT_EQ(train_on(2, trunk), Outcome::kDone);
  branch_run(trunk.directory, 5, branch);
  EXPECT_EQ(test::checkpoints_of(branch), (std::vector<std::int64_t>{5}));
  // Shared, not copied.
  struct stat status {};
  ASSERT_EQ(
      ::stat((checkpoint::checkpoint_path(branch.directory, 5) / "manifest.json").c_str(), &status),
      0);
  EXPECT_EQ(status.st_nlink, 2u);
  EXPECT_EQ(train_on(1, branch), Outcome::kDone);
  EXPECT_TRUE(difference(test::ending_of(branch, 9), test::ending_of(trunk, 9)).same_bits);
  EXPECT_THAT(base::read_file(base::Path(branch.directory) / "branch.json"),
              HasSubstr("\"step\": 5"));
}

TEST(Branch, AnotherEndOfTheSameTrunk) {
  const test::TinyRun tiny;
  const auto trunk = tiny.config("trunk");
  ASSERT_EQ(train_on(1, trunk), Outcome::kDone);
  // The first stage ends at the branch, two steps early; the second has another learning rate.
  const auto branch = tiny.config(
      "branch", {"stages.0.steps=3", "stages.1.steps=2", "stages.1.learning_rate.peak=3e-3"});
  branch_run(trunk.directory, 3, branch);
  EXPECT_EQ(train_on(2, branch), Outcome::kDone);
  const auto end = test::ending_of(branch, 5);
  EXPECT_EQ(end.losses.size(), 5u);  // of the trunk's three steps and two of its own
  // The trunk is as it was.
  EXPECT_EQ(test::checkpoints_of(trunk).back(), 9);
}

TEST(Branch, WhatCannotGoOnIsRefusedAndLeavesNothing) {
  const test::TinyRun tiny;
  const auto trunk = tiny.config("trunk");
  ASSERT_EQ(train_on(1, trunk, {.stop_after = 4}), Outcome::kStopped);
  EXPECT_THAT(refusal_of(trunk.directory, 2, tiny.config("none")),
              HasSubstr("has no checkpoint of step 2; it has those of 3, 4"));
  EXPECT_THAT(refusal_of(trunk.directory, 4, trunk), HasSubstr("the run that is branched"));
  EXPECT_THAT(refusal_of(trunk.directory, 4, tiny.config("wide", {"model.width=48"})),
              HasSubstr("another model"));
  EXPECT_THAT(refusal_of(trunk.directory, 4, tiny.config("short", {"stages.0.steps=3"})),
              HasSubstr("has done 4 steps"));
  for (const char* name : {"none", "wide", "short"})
    EXPECT_FALSE(base::is_there(tiny.path() / name)) << name;
  const auto begun = tiny.config("begun");
  ASSERT_EQ(train_on(1, begun, {.stop_after = 1}), Outcome::kStopped);
  EXPECT_THAT(refusal_of(trunk.directory, 4, begun), HasSubstr("has checkpoints already"));
  // A damaged checkpoint is not passed on.
  const base::Path file = checkpoint::checkpoint_path(trunk.directory, 4) / "shard-0000.h5";
  std::string bytes = base::read_file(file);
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
  base::write_file(file, bytes);
  EXPECT_THAT(refusal_of(trunk.directory, 4, tiny.config("late")), HasSubstr("is damaged"));
  EXPECT_FALSE(base::is_there(tiny.path() / "late"));
}

}  // namespace
}  // namespace eyrie::trainer
