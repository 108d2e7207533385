// A stop in mid-validation: the run saves and stops there, and the next start makes up for it, to
// the same metrics and checkpoints as without a stop.
#include <gtest/gtest.h>
#include <signal.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "checkpoint/list.h"
#include "checkpoint/reader.h"
#include "parallel/health/stop.h"
#include "support/tiny_run.h"
#include "trainer/trainer.h"

namespace eyrie::trainer {
namespace {

using nlohmann::json;

// Step, stage, loss and validation of every line.
std::vector<json> lines_of(const RunConfig& run) {
  std::vector<json> lines;
  std::ifstream file(base::Path(run.directory) / "metrics.jsonl");
  for (std::string text; std::getline(file, text);) {
    const json line = json::parse(text);
    json kept;
    for (const char* key :
         {"step", "stage", "loss", "grad_norm", "validation_loss", "validation_loss_by_source"})
      if (line.contains(key)) kept[key] = line[key];
    lines.push_back(kept);
  }
  return lines;
}

json state_of(const RunConfig& run, std::int64_t step) {
  json state = json::parse(
      checkpoint::CheckpointReader(checkpoint::checkpoint_path(run.directory, step)).state());
  for (const char* key : {"run", "mesh", "ranks", "threads"}) state.erase(key);
  return state;
}

Outcome train_on(int ranks, const RunConfig& run, std::int64_t stop_in_batch) {
  Outcome outcome = Outcome::kDone;
  TrainOptions options;
  // After the step's own vote on a stop, before what follows it.
  options.gain = [&](std::int64_t batch) {
    if (batch == stop_in_batch) parallel::request_stop(SIGUSR1);
    return 1.0;
  };
  parallel::run_in_process(ranks, [&](parallel::Communicator& world) {
    const Outcome one = train(run, world, options, {});
    if (world.rank() == 0) outcome = one;
  });
  parallel::clear_stop();
  return outcome;
}

TEST(ValidationStop, IsMadeUpForAtTheNextStart) {
  const test::TinyRun tiny;
  const auto whole = tiny.config("whole", {"checkpoint.every=2"});
  EXPECT_EQ(train_on(1, whole, -1), Outcome::kDone);
  struct Case {
    int ranks;
    std::int64_t batch, step;  // stop in the validation after this step
    std::vector<std::string> changes;
  };
  int number = 0;
  for (const Case& one : {Case{1, 1, 2, {}}, Case{2, 3, 4, {"mesh.zero=3"}}, Case{4, 4, 5, {}}}) {
    SCOPED_TRACE(one.step);
    auto changes = one.changes;
    changes.push_back("checkpoint.every=2");
    const auto run = tiny.config("stopped" + std::to_string(number++), changes);
    // The batch numbers begin anew in the second stage: only the first has as many.
    ASSERT_EQ(train_on(one.ranks, run, one.batch), Outcome::kStopped);
    EXPECT_EQ(state_of(run, one.step).value("validation_due", false), true);
    EXPECT_FALSE(state_of(run, one.step).contains("validation_loss"));
    EXPECT_EQ(train_on(one.ranks, run, -1), Outcome::kDone);
    EXPECT_EQ(lines_of(run), lines_of(whole));
    for (const std::int64_t step : {2, 4, 5, 6, 8, 9})
      EXPECT_EQ(state_of(run, step), state_of(whole, step)) << step;
  }
}

}  // namespace
}  // namespace eyrie::trainer
