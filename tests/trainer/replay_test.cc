// Past steps again: the bits that were recorded, and what was in them.
#include "trainer/replay.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <map>

#include "support/crossing.h"

namespace eyrie::trainer {
namespace {

using test::train_on;
using testing::HasSubstr;

Replay replay_on(int ranks, const RunConfig& run, std::int64_t step) {
  Replay replay;
  parallel::run_in_process(ranks, [&](parallel::Communicator& world) {
    Replay own = replay_step(run, world, step);
    if (world.rank() == 0) replay = std::move(own);
  });
  return replay;
}

std::map<std::string, std::string> files_of(const base::Path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder))
    // This process logs to the run that it trained.
    if (entry.is_regular_file() && entry.path().extension() != ".log")
      files[entry.path().string()] = base::read_file(entry.path());
  return files;
}

TEST(Replay, AnyStepOnAnyRanksHasTheRecordedBits) {
  const test::TinyRun tiny;
  const auto run = tiny.config("run");
  ASSERT_EQ(train_on(2, run), Outcome::kDone);  // checkpoints of 3, 5, 6 and 9
  const auto before = files_of(run.directory);
  const std::map<std::int64_t, std::int64_t> from = {{1, 0}, {3, 0}, {4, 3}, {5, 3},
                                                     {6, 5}, {7, 6}, {9, 6}};
  for (const auto& [step, checkpoint] : from) {
    for (const int ranks : {1, 4}) {
      const Replay replay = replay_on(ranks, run, step);
      EXPECT_EQ(replay.from, checkpoint) << step;
      EXPECT_EQ(replay.stage, step <= 5 ? "first" : "second");
      ASSERT_TRUE(replay.recorded_loss && replay.recorded_grad_norm) << step;
      EXPECT_EQ(replay.taken.result.loss, *replay.recorded_loss) << step;
      EXPECT_EQ(replay.taken.result.grad_norm, *replay.recorded_grad_norm) << step;
      // The parts make up the whole.
      double nll = 0, squares = 0;
      std::int64_t targets = 0, tokens = 0;
      for (const ReplayedDocument& d : replay.documents) {
        nll += d.nll;
        targets += d.targets;
        tokens += d.origin.count;
        EXPECT_EQ(std::ssize(d.tokens), d.origin.count);
        EXPECT_TRUE(d.origin.source == "web" || d.origin.source == "math");
      }
      EXPECT_EQ(tokens, 8 * (step <= 5 ? 37 : 23));
      EXPECT_NEAR(nll / static_cast<double>(targets), *replay.recorded_loss, 1e-5);
      for (const auto& [name, norm] : replay.grad_norms) squares += norm * norm;
      EXPECT_NEAR(std::sqrt(squares) / *replay.recorded_grad_norm, 1, 1e-6);
      EXPECT_EQ(replay.by_source.size(), 2u);
    }
  }
  EXPECT_TRUE(files_of(run.directory) == before) << "something was written";
}

TEST(Replay, OnAMeshThatSharesOutModelAndSequences) {
  const test::TinyRun tiny;
  const auto run = tiny.config("run", {"mesh.tensor=2", "mesh.zero=3"});
  ASSERT_EQ(train_on(4, run), Outcome::kDone);
  const Replay replay = replay_on(4, run, 8);
  EXPECT_EQ(replay.taken.result.loss, replay.recorded_loss);
  double squares = 0;
  for (const auto& [name, norm] : replay.grad_norms) squares += norm * norm;
  EXPECT_NEAR(std::sqrt(squares) / *replay.recorded_grad_norm, 1, 1e-6);
}

TEST(Replay, AStepThatIsNotThereIsRefused) {
  const test::TinyRun tiny;
  const auto run = tiny.config("run");
  for (const std::int64_t step : {0, 10}) {
    try {
      replay_on(1, run, step);
      ADD_FAILURE() << step;
    } catch (const base::InputError& error) {
      EXPECT_THAT(error.what(), HasSubstr("the run has steps 1 to 9"));
    }
  }
}

}  // namespace
}  // namespace eyrie::trainer
