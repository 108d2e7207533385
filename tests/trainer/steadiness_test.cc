// Steps that are skipped, runs that are rolled back past bad batches, and runs that give up.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "checkpoint/list.h"
#include "checkpoint/reader.h"
#include "support/crossing.h"

namespace eyrie::trainer {
namespace {

using nlohmann::json;
using test::ending_of;
using test::failure_of;
using test::train_on;

constexpr double kNoNumber = std::numeric_limits<double>::quiet_NaN();

// `bad` batches of any stage have their loss multiplied by `gain`.
TrainOptions with_bad(std::vector<std::int64_t> bad, double gain = kNoNumber,
                      std::int64_t stop_after = 0) {
  TrainOptions options;
  options.stop_after = stop_after;
  options.gain = [bad = std::move(bad), gain](std::int64_t batch) {
    return std::find(bad.begin(), bad.end(), batch) == bad.end() ? 1.0 : gain;
  };
  return options;
}

std::vector<json> steps_of(const RunConfig& config) {
  std::ifstream file(config.directory + "/metrics.jsonl");
  std::vector<json> steps;
  for (std::string line; std::getline(file, line);) {
    json object = json::parse(line);
    if (object.contains("loss")) steps.push_back(std::move(object));
  }
  return steps;
}

TEST(Steadiness, ABatchThatIsNoNumberIsSkippedOnAnyMesh) {
  const test::TinyRun tiny;
  std::vector<float> expected;
  int number = 0;
  for (const parallel::MeshShape& shape :
       {parallel::MeshShape{}, {.data = 2}, {.data = 4, .zero = 3}}) {
    const auto run = tiny.config(fmt::format("skip{}", number++), test::mesh_changes(shape));
    EXPECT_EQ(train_on(shape.ranks(), run, with_bad({2})), Outcome::kDone);
    const auto steps = steps_of(run);
    ASSERT_EQ(steps.size(), 9u);
    for (std::size_t i = 0; i < 9; ++i) {
      const bool bad = i == 2 || i == 7;  // batch 2 of both stages
      EXPECT_EQ(steps[i]["loss"].is_null(), bad) << i;
      EXPECT_EQ(steps[i].contains("skipped"), bad) << i;
    }
    const checkpoint::CheckpointReader last(checkpoint::checkpoint_path(run.directory, 9));
    EXPECT_EQ(json::parse(last.state())["updates"], 7);
    std::vector<float> weights;
    for (const std::string& name : last.names()) {
      std::int64_t count = 1;
      for (const std::int64_t size : last.shape(name)) count *= size;
      std::vector<float> values(static_cast<std::size_t>(count));
      last.read_all(name, values.data());
      weights.insert(weights.end(), values.begin(), values.end());
    }
    if (expected.empty()) expected = weights;
    EXPECT_EQ(weights, expected) << describe(shape);
  }
}

TEST(Steadiness, AnOutlierIsSkippedOnceTheWindowIsFull) {
  const test::TinyRun tiny;
  const auto run = tiny.config("outlier", {"outliers.window=3", "outliers.z_score=20"});
  EXPECT_EQ(train_on(2, run, with_bad({4}, 1e4)), Outcome::kDone);
  const auto steps = steps_of(run);
  for (std::size_t i = 0; i < 9; ++i) EXPECT_EQ(steps[i].contains("skipped"), i == 4) << i;
  const auto off = tiny.config("off", {"outliers.window=3", "outliers.z_score=0"});
  EXPECT_EQ(train_on(2, off, with_bad({4}, 1e4)), Outcome::kDone);
  for (const json& step : steps_of(off)) EXPECT_FALSE(step.contains("skipped"));
}

// Batches 3 and 4 are bad: back to the checkpoint of step 3, and on with batches 5 and 6.
TEST(Steadiness, BackToTheCheckpointAndPastTheBatches) {
  const test::TinyRun tiny;
  const std::vector<std::string> changes = {"outliers.roll_back_after=2"};
  const auto run = tiny.config("back", changes);
  EXPECT_EQ(train_on(2, run, with_bad({3, 4})), Outcome::kDone);
  const auto steps = steps_of(run);
  ASSERT_EQ(steps.size(), 9u);
  for (std::size_t i = 0; i < steps.size(); ++i) {
    EXPECT_EQ(steps[i]["step"], i + 1);
    // The second stage's batch 3 is bad too, but alone.
    EXPECT_EQ(steps[i].contains("skipped"), i == 8) << i;
  }
  // A run that was stopped on its way, before and after the roll-back, is the same run.
  for (const std::int64_t stop : {4, 6}) {
    const auto parts = tiny.config(fmt::format("parts{}", stop), changes);
    EXPECT_EQ(train_on(4, parts, with_bad({3, 4}, kNoNumber, stop)), Outcome::kStopped);
    EXPECT_EQ(train_on(1, parts, with_bad({3, 4})), Outcome::kDone);
    EXPECT_EQ(ending_of(parts, 9).bits, ending_of(run, 9).bits) << stop;
  }
}

TEST(Steadiness, GivesUpWhereNothingHelps) {
  const test::TinyRun tiny;
  const auto early = tiny.config("early", {"outliers.roll_back_after=2"});
  const std::string none = failure_of(2, early, with_bad({0, 1}));
  EXPECT_NE(none.find("2 steps in a row up to step 2 of stage first were skipped, and there is no "
                      "checkpoint yet"),
            std::string::npos)
      << none;
  std::vector<std::int64_t> all;
  for (std::int64_t batch = 3; batch < 100; ++batch) all.push_back(batch);
  const auto run = tiny.config("all", {"outliers.roll_back_after=2"});
  const std::string diverged = failure_of(2, run, with_bad(all));
  EXPECT_NE(diverged.find("after 3 roll-backs to the same checkpoint"), std::string::npos)
      << diverged;
}

}  // namespace
}  // namespace eyrie::trainer
