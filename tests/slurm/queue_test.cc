// Times as Slurm writes them.
#include "slurm/queue.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "support/scratch_folder.h"

namespace eyrie::slurm {
namespace {

TEST(SlurmTime, EveryForm) {
  EXPECT_EQ(seconds_of("30"), 30 * 60);
  EXPECT_EQ(seconds_of("1:30"), 90);
  EXPECT_EQ(seconds_of("12:00:05"), 12 * 3600 + 5);
  EXPECT_EQ(seconds_of("2-0"), 2 * 86400);
  EXPECT_EQ(seconds_of("2-12:30"), 2 * 86400 + 12 * 3600 + 30 * 60);
  EXPECT_EQ(seconds_of("1-00:00:01"), 86401);
  EXPECT_EQ(seconds_of("UNLIMITED"), -1);
  EXPECT_EQ(seconds_of("infinite"), -1);
  for (const char* wrong : {"", "soon", "1:2:3:4", "-1", "1-", "1h", "12:", "1:x"})
    EXPECT_FALSE(seconds_of(wrong).has_value()) << wrong;
}

TEST(SlurmTime, TextReadsBack) {
  for (const std::int64_t seconds : {1, 59, 3600, 86399, 86400, 86401, 1'000'000})
    EXPECT_EQ(seconds_of(time_text(seconds)), seconds);
  EXPECT_EQ(time_text(-1), "UNLIMITED");
}

// Answers as scontrol gives them, from a scontrol of the test's own.
class FakeSlurm : public testing::Test {
 protected:
  void SetUp() override {
    path_ = ::getenv("PATH");
    ::setenv("PATH", (folder_.path().string() + ":" + path_).c_str(), 1);
  }
  void TearDown() override { ::setenv("PATH", path_.c_str(), 1); }
  void answer(const std::string& program, const std::string& script) {
    const base::Path file = folder_ / program;
    std::ofstream(file) << "#!/bin/sh\n" << script << "\n";
    std::filesystem::permissions(file, std::filesystem::perms::owner_all);
  }
  test::ScratchFolder folder_;
  std::string path_;
};

TEST_F(FakeSlurm, TheTasksOfAnArray) {
  answer("scontrol",
         "echo 'JobId=9 ArrayJobId=9 ArrayTaskId=2-4,7%2 JobState=PENDING Reason=Dependency "
         "NodeList=(null)'\n"
         "echo 'JobId=11 ArrayJobId=9 ArrayTaskId=1 JobState=RUNNING Reason=None Restarts=2 "
         "NodeList=n[1-2] NumNodes=2'");
  const auto states = task_states("9");
  ASSERT_EQ(states.size(), 2u);
  EXPECT_EQ(states[0].state, "PENDING");
  EXPECT_EQ(states[0].reason, "Dependency");
  EXPECT_EQ(states[0].tasks, 4);
  EXPECT_EQ(states[0].nodes, "");
  EXPECT_EQ(states[1].state, "RUNNING");
  EXPECT_EQ(states[1].tasks, 1);
  EXPECT_EQ(states[1].restarts, 2);
  EXPECT_EQ(states[1].node_count, 2);
  EXPECT_EQ(job_state("9").state, "PENDING");
  EXPECT_FALSE(states[0].log_not_opened);
  answer("scontrol", "echo 'JobId=9 JobState=FAILED Reason=JobLaunchFailure ExitCode=0:53'");
  EXPECT_TRUE(job_state("9").log_not_opened);
}

TEST_F(FakeSlurm, AJobThatIsForgottenHasNoState) {
  answer("scontrol", "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1");
  EXPECT_TRUE(task_states("9").empty());
  EXPECT_EQ(job_state("9").state, "");
  answer("scontrol", "echo 'Unable to contact slurm controller' >&2; exit 1");
  EXPECT_THROW(job_state("9"), base::Error);
}

TEST_F(FakeSlurm, SignalsToWaitingTasksOnly) {
  answer("scancel", "echo \"$@\" >>" + (folder_ / "told").string());
  EXPECT_TRUE(signal("9", "USR1"));
  EXPECT_TRUE(signal("9", "", true));
  EXPECT_EQ(base::read_file(folder_ / "told"), "--signal=USR1 9\n--state=PENDING 9\n");
}

}  // namespace
}  // namespace eyrie::slurm
