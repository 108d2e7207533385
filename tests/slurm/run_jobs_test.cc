// jobs.json and starts.jsonl of a run's folder.
#include "slurm/run_jobs.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "support/scratch_folder.h"

namespace eyrie::slurm {
namespace {

TEST(RunJobs, ReadBackAsWritten) {
  const test::ScratchFolder folder;
  EXPECT_FALSE(read_jobs(folder.path()).has_value());
  base::make_directories(folder.path() / "slurm");
  write_jobs(folder.path(), {.submitted = 7,
                             .folder = "/home/a b",
                             .run_file = "run.yaml",
                             .jobs = {{"12", "pretrain"}, {"13_2", "anneal"}}});
  const auto jobs = read_jobs(folder.path());
  ASSERT_TRUE(jobs.has_value());
  EXPECT_EQ(jobs->submitted, 7);
  EXPECT_EQ(jobs->folder, "/home/a b");
  EXPECT_EQ(jobs->run_file, "run.yaml");
  ASSERT_EQ(jobs->jobs.size(), 2u);
  EXPECT_EQ(jobs->jobs[1].id, "13_2");
  EXPECT_EQ(jobs->jobs[1].stage, "anneal");
}

TEST(RunJobs, AnotherFileIsRefused) {
  const test::ScratchFolder folder;
  base::make_directories(folder.path() / "slurm");
  base::write_file(folder.path() / "slurm" / "jobs.json", "{\"jobs\": 3}");
  EXPECT_THROW(read_jobs(folder.path()), base::InputError);
}

TEST(Starts, EndsBelongToTheirStarts) {
  const test::ScratchFolder folder;
  EXPECT_TRUE(read_starts(folder.path()).empty());
  base::make_directories(folder.path() / "slurm");
  base::write_file(
      folder.path() / "slurm" / "starts.jsonl",
      "{\"event\": \"start\", \"job\": \"5\", \"start\": 1, \"time\": 100, \"stage\": \"a\", "
      "\"nodes\": 2, "
      "\"ranks\": 4, \"hosts\": \"n[1-2]\", \"progress\": \" 0\"}\n"
      "{\"event\": \"end\", \"job\": \"5\", \"start\": 1, \"time\": 160, \"status\": 75, \"why\": "
      "\"preempted\"}\n"
      "{\"event\": \"start\", \"job\": \"5\", \"start\": 2, \"time\": 200, \"stage\": \"a\", "
      "\"nodes\": 1}\n"
      "{\"event\": \"start\", \"job\": \"6\", \"start\": 1, \"time\": 300, \"stage\": \"b\", "
      "\"nodes\": 1}\n"
      "{\"event\": \"stopped\", \"job\": \"6\", \"start\": 1, \"time\": 301, \"why\": \"x\"}\n"
      "{\"event\": \"end\", \"job\": \"6\", \"sta");
  const auto starts = read_starts(folder.path());
  ASSERT_EQ(starts.size(), 3u);
  EXPECT_EQ(starts[0].ended, 160);
  EXPECT_EQ(starts[0].status, 75);
  EXPECT_EQ(starts[0].why, "preempted");
  EXPECT_EQ(starts[0].ranks, 4);
  EXPECT_FALSE(starts[1].ended.has_value());
  EXPECT_EQ(starts[1].number, 2);
  EXPECT_EQ(starts[2].stage, "b");
  EXPECT_FALSE(starts[2].ended.has_value());
}

}  // namespace
}  // namespace eyrie::slurm
