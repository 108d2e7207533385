// What retention never takes: the checkpoint just written, the one that was gone on from, and the
// one that a roll-back would go to; and what was found unsound counts for nothing.
#include <gtest/gtest.h>

#include "checkpoint/list.h"
#include "checkpoint/reader.h"
#include "checkpoint/retention.h"
#include "support/checkpoint_samples.h"
#include "support/crossing.h"

namespace eyrie::trainer {
namespace {

using namespace checkpoint;
using test::train_on;

std::vector<std::int64_t> steps_in(const base::Path& run) {
  std::vector<std::int64_t> steps;
  for (const CheckpointInfo& info : list_checkpoints(run / "checkpoints"))
    steps.push_back(info.step);
  return steps;
}

// Data that no opening looks at.
void damage_data(const RunConfig& run, std::int64_t step) {
  const auto path = checkpoint_path(run.directory, step) / "shard-0000.h5";
  const base::Hdf5Reader shard(path, "");
  const std::string name = shard.list().front();
  test::flip_bit(path, shard.offset(name) + 3, 1);
}

TEST(InUse, AfterADamagedNewerOneWhatIsWrittenStays) {
  const test::TinyRun tiny;
  const std::vector<std::string> changes = {"checkpoint.keep=1", "checkpoint.best=1",
                                            "checkpoint.every=4", "stages.0.steps=20"};
  const auto run = tiny.config("run", changes), whole = tiny.config("whole", changes);
  EXPECT_EQ(train_on(1, whole), Outcome::kDone);
  EXPECT_EQ(train_on(1, run, {.stop_after = 19}), Outcome::kStopped);
  damage_data(run, 19);
  // 16 was the best, so it is there to go on from.
  ASSERT_EQ(steps_in(run.directory).back(), 19);
  const auto sound = newest_valid_checkpoint(run.directory);
  ASSERT_TRUE(sound);
  const std::int64_t from = CheckpointReader(*sound).step();
  EXPECT_EQ(train_on(1, run, {.stop_after = 1}), Outcome::kStopped);
  const auto steps = steps_in(run.directory);
  for (const std::int64_t step : {from, from + 1})
    EXPECT_NE(std::find(steps.begin(), steps.end(), step), steps.end()) << step;
  EXPECT_EQ(*newest_valid_checkpoint(run.directory), checkpoint_path(run.directory, from + 1));
  // Again and again, and to the end.
  for (int again = 0; again < 2; ++again)
    EXPECT_EQ(train_on(2, run, {.stop_after = 1}), Outcome::kStopped);
  EXPECT_EQ(*newest_valid_checkpoint(run.directory), checkpoint_path(run.directory, from + 3));
  EXPECT_EQ(train_on(2, run), Outcome::kDone);
  EXPECT_EQ(test::ending_of(run, 24).bits, test::ending_of(whole, 24).bits);
}

class Kept : public CheckpointFolder {};

TEST_F(Kept, PassedOverOnesCountForNothing) {
  for (const auto& [step, loss] : {std::pair{1, 5.0}, {2, 4.0}, {3, 3.0}, {4, 1.0}, {5, 9.0}})
    save_small(checkpoint_path(run_, step), step, 1,
               fmt::format(R"({{"validation_loss": {}}})", loss));
  const auto why = [&](const Retention& retention, const InUse& in_use) {
    std::vector<std::string> all;
    for (const RetentionDecision& row : apply_retention(run_, retention, false, in_use))
      all.push_back(row.kept_for);
    return all;
  };
  using Why = std::vector<std::string>;
  EXPECT_EQ(why({1, 0, 1}, {}), (Why{"", "", "", "best", "newest"}));
  EXPECT_EQ(why({1, 0, 1}, {{}, {4, 5}}),
            (Why{"", "", "newest", "damaged, too few others are sound",
                 "damaged, too few others are sound"}));
  EXPECT_EQ(why({1, 0, 0}, {{1, 2}, {}}), (Why{"in use", "in use", "", "", "newest"}));
}

TEST_F(Kept, WhereARollBackGoesTo) {
  save_small(checkpoint_path(run_, 10), 10);
  save_small(checkpoint_path(run_, 12), 12);
  save_small(checkpoint_path(run_, 14), 14, 1, R"({"roll_back_to": 10})");
  EXPECT_EQ(prune_checkpoints(run_, {1, 0, 0}), std::vector{checkpoint_path(run_, 12)});
  EXPECT_EQ(steps_in(run_), (std::vector<std::int64_t>{10, 14}));
}

// Stops write checkpoints between the regular ones, more than are kept.
TEST(InUse, StopsDoNotPushOutWhereARollBackGoesTo) {
  const test::TinyRun tiny;
  const auto run = tiny.config(
      "run", {"checkpoint.keep=1", "checkpoint.best=0", "checkpoint.every=4", "stages.0.steps=20"});
  EXPECT_EQ(train_on(1, run, {.stop_after = 5}), Outcome::kStopped);
  for (int stop = 0; stop < 2; ++stop)
    EXPECT_EQ(train_on(1, run, {.stop_after = 1}), Outcome::kStopped);
  EXPECT_EQ(steps_in(run.directory), (std::vector<std::int64_t>{4, 6, 7}));
}

}  // namespace
}  // namespace eyrie::trainer
