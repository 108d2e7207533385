// A start that ends after a stage: each job of a chain trains one.
#include <gtest/gtest.h>

#include <fstream>

#include "checkpoint/list.h"
#include "support/crossing.h"

namespace eyrie::trainer {
namespace {

using test::failure_of;
using test::train_on;

std::string last_stage_of(const RunConfig& run) {
  std::ifstream lines(run.directory + "/metrics.jsonl");
  std::string line, last;
  while (std::getline(lines, line)) last = line;
  return last.find("\"first\"") != std::string::npos    ? "first"
         : last.find("\"second\"") != std::string::npos ? "second"
                                                        : last;
}

TEST(UntilStage, AChainOfStartsIsOneRun) {
  const test::TinyRun tiny;
  const auto whole = tiny.config("whole"), chain = tiny.config("chain");
  EXPECT_EQ(train_on(1, whole, {}), Outcome::kDone);
  EXPECT_EQ(train_on(2, chain, {.until_stage = "first"}), Outcome::kDone);
  EXPECT_EQ(last_stage_of(chain), "first");
  // Once more: there is nothing left to do in it.
  EXPECT_EQ(train_on(1, chain, {.until_stage = "first"}), Outcome::kDone);
  EXPECT_EQ(last_stage_of(chain), "first");
  EXPECT_EQ(train_on(4, chain, {.until_stage = "second", .stop_after = 2}), Outcome::kStopped);
  // A stage that lies behind is left alone.
  EXPECT_EQ(train_on(1, chain, {.until_stage = "first"}), Outcome::kDone);
  EXPECT_EQ(train_on(1, chain, {.until_stage = "second"}), Outcome::kDone);
  EXPECT_TRUE(difference(test::ending_of(chain, 9), test::ending_of(whole, 9)).same_bits);
}

TEST(UntilStage, AStageThatIsNotThereIsRefused) {
  const test::TinyRun tiny;
  const std::string failure = failure_of(1, tiny.config("run"), {.until_stage = "third"});
  EXPECT_TRUE(failure.starts_with("input")) << failure;
  EXPECT_NE(failure.find("it has first, second"), std::string::npos) << failure;
}

}  // namespace
}  // namespace eyrie::trainer
