// Real jobs with a slow disk behind the training: a save that takes longer than the watch's limit
// ends nothing, and a failure is told at once although a save is stuck.
#include <gtest/gtest.h>

#include <chrono>

#include "parallel/health/job.h"
#include "support/tiny_run.h"

namespace eyrie::trainer {
namespace {

using namespace std::chrono_literals;

std::string run_file(const test::TinyRun& tiny, const std::string& async) {
  tiny.config("slow");  // writes the file
  const std::string file = (tiny.path() / "slow.yaml").string();
  std::ofstream(file, std::ios::app) << "watchdog: 2\n";
  std::string text = base::read_file(file);
  text.replace(text.find("{every: 3, keep: 10}"), 20, "{every: 3, keep: 2, async: " + async + "}");
  std::ofstream(file) << text;
  return file;
}

TEST(SlowDisk, ASaveBeyondTheWatchsLimitEndsNothing) {
  for (const char* async : {"true", "false"}) {
    SCOPED_TRACE(async);
    const test::TinyRun tiny;
    test_support::Job job(2, {SLOW_DISK_PROGRAM, run_file(tiny, async), "slow", "5"});
    EXPECT_EQ(job.end(60s), 0) << job.text();
    EXPECT_NE(job.text().find("done: 9 steps"), std::string::npos) << job.text();
    EXPECT_EQ(job.text().find("has waited"), std::string::npos) << job.text();
  }
}

TEST(SlowDisk, AFailureIsToldAtOnce) {
  for (const int ranks : {1, 2}) {
    SCOPED_TRACE(ranks);
    const test::TinyRun tiny;
    test_support::Job job(ranks, {SLOW_DISK_PROGRAM, run_file(tiny, "true"), "fail", "60"});
    const std::string line = "the file is truncated\n";
    const auto start = test_support::Job::Clock::now();
    EXPECT_EQ(job.end(50s), 2) << job.text();
    EXPECT_LT(test_support::Job::Clock::now() - start, 40s);  // most of it is the start
    EXPECT_NE(job.text().find(line), std::string::npos) << job.text();
    if (ranks > 1) {
      EXPECT_EQ(job.last_line_of_a_rank(), "rank 1: data/shards/web-0001.h5: the file is truncated")
          << job.text();
    }
  }
}

}  // namespace
}  // namespace eyrie::trainer
