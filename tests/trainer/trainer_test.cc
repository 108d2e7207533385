// Training is the same, bit for bit, on any number of ranks and after any stop.
#include "trainer/trainer.h"

#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "checkpoint/list.h"
#include "checkpoint/reader.h"
#include "support/tiny_run.h"

namespace eyrie::trainer {
namespace {

using nlohmann::json;

Outcome run_on(int ranks, const RunConfig& config, const TrainOptions& options = {}) {
  std::vector<Outcome> outcomes(static_cast<std::size_t>(ranks));
  parallel::run_in_process(ranks, [&](parallel::Communicator& world) {
    outcomes[static_cast<std::size_t>(world.rank())] = train(config, world, options, {});
  });
  for (const Outcome outcome : outcomes) EXPECT_EQ(outcome, outcomes[0]);
  return outcomes[0];
}

// metrics.jsonl without what is measured by the clock.
std::vector<std::string> lines_of(const RunConfig& config) {
  std::ifstream file(config.directory + "/metrics.jsonl");
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) {
    json object = json::parse(line);
    for (const char* key : {"tokens_per_s", "flops_per_s", "mfu", "step_s", "data_s", "exchange_s",
                            "exchange_bytes", "checkpoint_s", "memory_mb", "time"})
      object.erase(key);
    lines.push_back(object.dump());
  }
  return lines;
}

std::vector<float> weights_of(const RunConfig& config, std::int64_t step) {
  const checkpoint::CheckpointReader reader(checkpoint::checkpoint_path(config.directory, step));
  std::vector<float> all;
  for (const std::string& name : reader.names()) {
    std::int64_t count = 1;
    for (const std::int64_t size : reader.shape(name)) count *= size;
    std::vector<float> values(static_cast<std::size_t>(count));
    reader.read_all(name, values.data());
    all.insert(all.end(), values.begin(), values.end());
  }
  return all;
}

class Precision : public testing::TestWithParam<const char*> {
 protected:
  std::string precision() const { return std::string("precision=") + GetParam(); }
};

TEST_P(Precision, SameBitsOnOneTwoAndFourRanks) {
  const test::TinyRun tiny;
  const auto one = tiny.config("one", {precision()}), two = tiny.config("two", {precision()}),
             four = tiny.config("four", {precision()});
  EXPECT_EQ(run_on(1, one), Outcome::kDone);
  EXPECT_EQ(run_on(2, two), Outcome::kDone);
  EXPECT_EQ(run_on(4, four), Outcome::kDone);
  const auto lines = lines_of(one);
  ASSERT_EQ(lines.size(), 9u + 3u + 1u);  // steps, and the validations of both stages
  EXPECT_EQ(lines_of(two), lines);
  EXPECT_EQ(lines_of(four), lines);
  EXPECT_EQ(weights_of(two, 9), weights_of(one, 9));
  EXPECT_EQ(weights_of(four, 9), weights_of(one, 9));
  const double begin = json::parse(lines.front())["loss"],
               end = json::parse(lines[lines.size() - 2])["loss"];
  EXPECT_LT(end, begin - 0.5);  // and it learns
}

TEST_P(Precision, StoppedAndContinuedOnOtherRanksItIsTheSameRun) {
  const test::TinyRun tiny;
  const auto whole = tiny.config("whole", {precision()});
  EXPECT_EQ(run_on(2, whole), Outcome::kDone);
  for (const std::int64_t stop :
       {1, 4, 5, 7}) {  // in mid-stage, between checkpoints, at the stages' border
    const auto parts = tiny.config("parts" + std::to_string(stop), {precision()});
    EXPECT_EQ(run_on(4, parts, {.stop_after = stop}), Outcome::kStopped);
    EXPECT_EQ(run_on(1, parts), Outcome::kDone);
    EXPECT_EQ(lines_of(parts), lines_of(whole)) << "stopped after " << stop;
    EXPECT_EQ(weights_of(parts, 9), weights_of(whole, 9)) << "stopped after " << stop;
  }
}

TEST_P(Precision, WindowsOnOneTextAreTheSameRunToo) {
  const test::TinyRun tiny;
  const auto windows = [&](const char* name) {
    return tiny.config(
        name, {precision(), "stages.0.data.packing=windows", "stages.1.data.packing=windows"});
  };
  const auto one = windows("one"), two = windows("two"), four = windows("four"),
             parts = windows("parts"), documents = tiny.config("documents", {precision()});
  EXPECT_EQ(run_on(1, one), Outcome::kDone);
  EXPECT_EQ(run_on(2, two), Outcome::kDone);
  EXPECT_EQ(run_on(4, four), Outcome::kDone);
  EXPECT_EQ(run_on(2, parts, {.stop_after = 3}), Outcome::kStopped);
  EXPECT_EQ(run_on(1, parts, {.stop_after = 4}), Outcome::kStopped);
  EXPECT_EQ(run_on(4, parts), Outcome::kDone);
  const auto lines = lines_of(one);
  ASSERT_EQ(lines.size(), 9u + 3u + 1u);
  for (const RunConfig& other : {two, four, parts}) {
    EXPECT_EQ(lines_of(other), lines) << other.name;
    EXPECT_EQ(weights_of(other, 9), weights_of(one, 9)) << other.name;
  }
  EXPECT_EQ(run_on(1, documents), Outcome::kDone);
  EXPECT_NE(lines_of(documents)[0], lines[0]);
}

INSTANTIATE_TEST_SUITE_P(Both, Precision, testing::Values("fp32", "bf16"));

TEST(Trainer, ACrashLosesOnlyWhatCameAfterTheCheckpoint) {
  const test::TinyRun tiny;
  const auto whole = tiny.config("whole"), crashed = tiny.config("crashed");
  run_on(1, whole);
  EXPECT_EQ(run_on(2, crashed, {.stop_after = 7}), Outcome::kStopped);
  // As if it had died in step 8 without saving: the newest checkpoint is gone, lines of later steps
  // are there.
  std::filesystem::remove_all(checkpoint::checkpoint_path(crashed.directory, 7));
  std::ofstream(crashed.directory + "/metrics.jsonl", std::ios::app)
      << "{\"step\":8,\"loss\":1}\n{\"step\":9,\"lo";
  EXPECT_EQ(run_on(4, crashed), Outcome::kDone);
  EXPECT_EQ(lines_of(crashed), lines_of(whole));
  EXPECT_EQ(weights_of(crashed, 9), weights_of(whole, 9));
}

TEST(Trainer, BehindTheTrainingOrNotItIsTheSameRun) {
  const test::TinyRun tiny;
  const auto behind = tiny.config("behind", {"checkpoint.every=1"}),
             waited = tiny.config("waited", {"checkpoint.every=1", "checkpoint.async=false"});
  run_on(2, behind);
  run_on(2, waited);
  EXPECT_EQ(lines_of(behind), lines_of(waited));
  for (std::int64_t step = 1; step <= 9; ++step)
    EXPECT_EQ(weights_of(behind, step), weights_of(waited, step)) << step;
}

TEST(Trainer, TheNewestAndTheBestStay) {
  const test::TinyRun tiny;
  const auto run = tiny.config("run", {"checkpoint.every=1", "checkpoint.keep=1",
                                       "checkpoint.best=2", "stages.1.validate.every=2"});
  run_on(2, run);
  std::map<double, std::int64_t> validated;  // loss → step
  for (const std::string& line : lines_of(run)) {
    const json object = json::parse(line);
    if (object.contains("validation_loss")) validated[object["validation_loss"]] = object["step"];
  }
  ASSERT_EQ(validated.size(), 5u);                 // steps 2, 4, 5, 7, 9
  std::set<std::int64_t> expected = {5, 9}, left;  // where stages end
  for (auto best = validated.begin(); best != std::next(validated.begin(), 2); ++best) {
    expected.insert(best->second);
    const checkpoint::CheckpointReader reader(
        checkpoint::checkpoint_path(run.directory, best->second));
    EXPECT_EQ(json::parse(reader.state()).at("validation_loss"), best->first);
  }
  for (const auto& info : checkpoint::list_checkpoints(base::Path(run.directory) / "checkpoints"))
    left.insert(info.step);
  EXPECT_EQ(left, expected);
}

TEST(Trainer, EveryPieceOfTheStateCounts) {
  // Negative control: a run that goes on without its moments, or from another place in the data, is
  // another run.
  const test::TinyRun tiny;
  const auto whole = tiny.config("whole");
  run_on(1, whole);
  const auto reset = tiny.config("reset", {"stages.1.moments=reset"});
  run_on(1, reset);
  EXPECT_EQ(lines_of(reset)[5], lines_of(whole)[5]);
  EXPECT_NE(weights_of(reset, 9), weights_of(whole, 9));
  const auto seed = tiny.config("seed", {"seed=4"});
  run_on(1, seed);
  EXPECT_NE(lines_of(seed)[0], lines_of(whole)[0]);
}

std::string failure_of(int ranks, const RunConfig& config, const TrainOptions& options = {}) {
  try {
    run_on(ranks, config, options);
  } catch (const base::InputError& error) {
    return error.what();
  }
  return "nothing was thrown";
}

TEST(Trainer, WhatDoesNotFitIsRefusedWithNames) {
  const test::TinyRun tiny;
  EXPECT_NE(failure_of(3, tiny.config("a")).find("1, 2, 4"), std::string::npos)
      << failure_of(3, tiny.config("a"));
  EXPECT_NE(failure_of(2, tiny.config("b", {"mesh.data=4"}))
                .find("mesh.data is 4, but the job has 2 ranks"),
            std::string::npos);
  EXPECT_NE(failure_of(1, tiny.config("c", {"tokenizer=nowhere.model"})).find("nowhere.model"),
            std::string::npos);
  EXPECT_NE(failure_of(1, tiny.config("d", {"stages.0.data.shards=nowhere"})).find("nowhere"),
            std::string::npos);
  EXPECT_NE(failure_of(1, tiny.config("d", {"stages.0.data.packing=windows",
                                            "stages.0.sequence_length=100000"}))
                .find("source web"),
            std::string::npos);
  const auto asks = [&](const std::string& task) {
    return tiny.config("e", {"stages.1.evaluate.tasks=[" + task + "]"});
  };
  EXPECT_NE(failure_of(1, asks("piqa")).find("not screened for task piqa"), std::string::npos);
  // Before the first step, not after a stage.
  EXPECT_NE(failure_of(1, asks("piqqa")).find("piqa"), std::string::npos);
  EXPECT_NE(
      failure_of(1, tiny.config("e", {"stages.1.evaluate.tasks=[piqa]", "evaluation.data=nowhere"}))
          .find("nowhere"),
      std::string::npos);
  run_on(1, tiny.config("f"), {.stop_after = 1});
  EXPECT_NE(failure_of(1, tiny.config("f"), {.fresh = true}).find("--fresh"), std::string::npos);
  EXPECT_NE(failure_of(1, tiny.config("f", {"seed=9"})).find("seed"), std::string::npos);
  EXPECT_NE(failure_of(1, tiny.config("f", {"model.window=8"})).find("model"), std::string::npos);
  EXPECT_EQ(run_on(1, tiny.config("g"), {.check = true}), Outcome::kDone);
  EXPECT_FALSE(std::filesystem::exists(tiny.path() / "g"));
  // A check sees the checkpoints as well, and so does a stage that is shorter than what is done.
  EXPECT_NE(failure_of(1, tiny.config("f", {"seed=9"}), {.check = true}).find("seed"),
            std::string::npos);
  run_on(1, tiny.config("h"), {.stop_after = 4});
  EXPECT_NE(failure_of(1, tiny.config("h", {"stages.0.steps=3"}))
                .find("stage 'first' has done 4 steps, but stages.0.steps is 3 now"),
            std::string::npos);
  const std::string failure = failure_of(1, tiny.config("i", {"stages.1.data.shards=nowhere"}));
  EXPECT_NE(failure.find("data.shards"), std::string::npos) << failure;
  EXPECT_NE(failure.find("nowhere: no dataset.json"), std::string::npos) << failure;
}

}  // namespace
}  // namespace eyrie::trainer
