// Roll-backs go to before the row of skipped steps, never into it; a run that has diverged ends
// with an error; and the way there is the same after stops and crashes.
#include <gtest/gtest.h>

#include <limits>

#include "checkpoint/list.h"
#include "checkpoint/reader.h"
#include "support/crossing.h"

namespace eyrie::trainer {
namespace {

using nlohmann::json;
using test::checkpoints_of;
using test::ending_of;
using test::failure_of;
using test::train_on;

// The loss of these batches of any stage is no number.
TrainOptions with_bad(std::vector<std::int64_t> bad, std::int64_t stop_after = 0) {
  TrainOptions options;
  options.stop_after = stop_after;
  options.gain = [bad = std::move(bad)](std::int64_t batch) {
    return std::find(bad.begin(), bad.end(), batch) == bad.end()
               ? 1.0
               : std::numeric_limits<double>::quiet_NaN();
  };
  return options;
}

std::vector<std::int64_t> from(std::int64_t first) {
  std::vector<std::int64_t> all;
  for (std::int64_t batch = first; batch < first + 100; ++batch) all.push_back(batch);
  return all;
}

// A checkpoint after every step, most of them inside the row; few of them kept.
const std::vector<std::string> kEveryStep = {"checkpoint.every=1", "checkpoint.keep=1",
                                             "checkpoint.best=0",  "outliers.roll_back_after=3",
                                             "stages.0.steps=12",  "stages.0.validate.every=0"};

TEST(RollBack, ToBeforeTheRowWhereCheckpointsLieInIt) {
  const test::TinyRun tiny;
  auto rare = kEveryStep;
  rare[0] = "checkpoint.every=3";
  const auto run = tiny.config("often", kEveryStep), other = tiny.config("rare", rare);
  const std::vector<std::int64_t> bad = {3, 4, 5};
  EXPECT_EQ(train_on(2, run, with_bad(bad)), Outcome::kDone);
  EXPECT_EQ(train_on(1, other, with_bad(bad)), Outcome::kDone);
  // Both went back to step 3, whatever lay between.
  EXPECT_EQ(ending_of(run, 16).bits, ending_of(other, 16).bits);
  EXPECT_EQ(json::parse(checkpoint::CheckpointReader(checkpoint::checkpoint_path(run.directory, 16))
                            .state())["updates"],
            15);  // the second stage's batch 3 alone is skipped
}

TEST(RollBack, OfARunThatNeverLearnsAgainEndsWithAnError) {
  const test::TinyRun tiny;
  for (const char* every : {"checkpoint.every=1", "checkpoint.every=2", "checkpoint.every=3"}) {
    auto changes = kEveryStep;
    changes[0] = every;
    const auto run = tiny.config(every, changes);
    const std::string failure = failure_of(2, run, with_bad(from(4)));
    EXPECT_NE(failure.find("after 3 roll-backs to the same checkpoint"), std::string::npos)
        << every << ": " << failure;
    // It ends so again, from whatever lies there.
    EXPECT_EQ(failure_of(2, run, with_bad(from(4))), failure) << every;
  }
  const auto early = tiny.config("early", kEveryStep);
  EXPECT_NE(failure_of(2, early, with_bad(from(0))).find("there is no checkpoint"),
            std::string::npos);
  // Rows that are never long enough for a roll-back learn nothing either.
  auto never = kEveryStep;
  never[3] = "outliers.roll_back_after=0";
  const auto nothing = tiny.config("nothing", never);
  EXPECT_NE(failure_of(2, nothing, with_bad(from(0))).find("nothing was learnt"),
            std::string::npos);
}

TEST(RollBack, TheCountOfTriesEndsWithAnAcceptedStep) {
  const test::TinyRun tiny;
  // From step 2 on each try learns from one batch and falls over the next three, four times.
  std::vector<std::int64_t> bad;
  for (std::int64_t batch = 2; batch < 18; ++batch)
    if (batch % 4 != 2) bad.push_back(batch);
  auto changes = kEveryStep;
  changes[0] = "checkpoint.every=100";
  changes[4] = "stages.0.steps=20";
  const auto run = tiny.config("run", changes);
  EXPECT_EQ(train_on(1, run, with_bad({}, 2)), Outcome::kStopped);
  // A stop's checkpoint is none to go back to.
  EXPECT_NE(failure_of(2, run, with_bad(bad)).find("there is no checkpoint"), std::string::npos);
  changes[0] = "checkpoint.every=2";
  const auto regular = tiny.config("regular", changes);
  EXPECT_EQ(train_on(1, regular, with_bad(bad)), Outcome::kDone);
  // Always to the same one, and it ends too: 10 times.
  for (std::int64_t batch = 18; batch < 90; ++batch)
    if (batch % 4 != 2) bad.push_back(batch);
  const auto endless = tiny.config("endless", changes);
  EXPECT_NE(
      failure_of(2, endless, with_bad(bad)).find("after 10 roll-backs to the same checkpoint"),
      std::string::npos);
}

// Stops and crashes anywhere inside of rows and tries: the same run, on other ranks too.
TEST(RollBack, StoppedAnywhereItIsTheSameRun) {
  const test::TinyRun tiny;
  const std::vector<std::int64_t> bad = {3, 4, 5, 6, 7, 8, 12, 13};
  for (const char* every : {"checkpoint.every=2", "checkpoint.every=3"}) {
    auto changes = kEveryStep;
    changes[0] = every;
    const auto whole = tiny.config(fmt::format("whole-{}", every), changes);
    EXPECT_EQ(train_on(2, whole, with_bad(bad)), Outcome::kDone);
    for (const std::int64_t stop : {2, 5, 7}) {
      const auto parts = tiny.config(fmt::format("parts-{}-{}", every, stop), changes);
      Outcome outcome = train_on(1, parts, with_bad(bad, stop));
      EXPECT_EQ(outcome, Outcome::kStopped);
      for (int again = 0; outcome == Outcome::kStopped && again < 40; ++again)
        outcome = train_on(1 + again % 2, parts, with_bad(bad, 1 + stop % 3));
      EXPECT_EQ(outcome, Outcome::kDone);
      EXPECT_EQ(ending_of(parts, 16).bits, ending_of(whole, 16).bits) << every << " " << stop;
      EXPECT_EQ(ending_of(parts, 16).losses, ending_of(whole, 16).losses) << every << " " << stop;
    }
  }
}

TEST(RollBack, TakesAwayTheWayNotTaken) {
  const test::TinyRun tiny;
  auto changes = kEveryStep;
  changes[0] = "checkpoint.every=2";
  changes[1] = "checkpoint.keep=10";
  const auto run = tiny.config("run", changes);
  // Stopped right after the roll-back's first step: 2 is the target, 4 lay in the row of 3, 4, 5.
  EXPECT_EQ(train_on(1, run, with_bad({2, 3, 4}, 6)), Outcome::kStopped);
  EXPECT_EQ(checkpoints_of(run), (std::vector<std::int64_t>{2, 3}));
}

}  // namespace
}  // namespace eyrie::trainer
