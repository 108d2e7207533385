// Real jobs under scripts/mpi whose ranks are stopped, hang, wait for each other or call different
// operations: the last line names the operation and the ranks, and the job ends in time.
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <cstdlib>
#include <memory>
#include <regex>
#include <thread>

#include "parallel/health/job.h"

namespace eyrie::parallel {
namespace {

using test_support::Job;
using Clock = std::chrono::steady_clock;

constexpr double kLimit = 3;

// Seconds a job may take beyond the limit: the launcher takes about one to end the ranks, and the
// machine may be busy.
constexpr double kGrace = 5;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

int lines_of_ranks(const std::string& text) {
  const std::regex line("(^|\n)rank \\d+: ");
  return static_cast<int>(
      std::distance(std::sregex_iterator(text.begin(), text.end(), line), std::sregex_iterator()));
}

struct Case {
  std::string what;
  std::vector<int> stopped;
  std::string line;  // a regular expression
};

// Jobs of 4 ranks, all at the same time. Stops ranks with SIGSTOP, then reads to the end: status 1,
// one line of a rank, and that in time.
void expect_ends(const std::vector<Case>& cases) {
  std::vector<std::unique_ptr<Job>> jobs;
  for (const Case& one : cases) {
    jobs.push_back(std::make_unique<Job>(
        4, std::vector<std::string>{HANG_PROGRAM, one.what, std::to_string(kLimit)}));
  }
  for (std::size_t i = 0; i < cases.size(); ++i) {
    ASSERT_TRUE(jobs[i]->read_until("ready")) << jobs[i]->text();
  }
  const Clock::time_point start = Clock::now();
  for (std::size_t i = 0; i < cases.size(); ++i) {
    for (const int rank : cases[i].stopped) ::kill(jobs[i]->pid(rank), SIGSTOP);
  }
  for (std::size_t i = 0; i < cases.size(); ++i) {
    SCOPED_TRACE(cases[i].what);
    Job& job = *jobs[i];
    EXPECT_EQ(job.end(), 1) << job.text();
    EXPECT_LT(seconds_since(start), kLimit + kGrace);
    EXPECT_TRUE(std::regex_match(job.last_line_of_a_rank(), std::regex(cases[i].line)))
        << job.text();
    EXPECT_EQ(lines_of_ranks(job.text()), 1) << job.text();
  }
}

const std::string kSilent = R"( \(has not answered for [23] s\))";
const std::string kEnd = R"(; in step \d+\. Start the same command again\.)";

// A stopped rank may have entered the operation before: its last report, up to a period old, tells.
std::string stopped_in(const std::string& operation, const std::string& others,
                       const std::string& victim) {
  return "'" + operation + R"( \d+ has waited [23] s; arrived: .*)" + others +
         ".*; did not arrive: " + victim + kSilent + kEnd;
}

TEST(HangTest, AStoppedRankInABarrierOfTheWorld) {
  expect_ends({{"steps", {1}, "rank 0: " + stopped_in("world' barrier", "ranks 0, 2, 3", "rank 1")},
               {"steps", {3}, "rank 0: " + stopped_in("world' barrier", "ranks 0-2", "rank 3")}});
}

TEST(HangTest, TheJudgeItselfIsStopped) {
  expect_ends(
      {{"steps", {0}, "rank 1: " + stopped_in("world' barrier", "ranks 1-3", "rank 0")},
       {"steps", {0, 1}, "rank 2: " + stopped_in("world' barrier", "ranks 2, 3", "ranks 0, 1")}});
}

// Ranks 0 and 2 have nothing to do with the axis of ranks 1 and 3.
TEST(HangTest, AStoppedRankInAnExchangeOnAnAxis) {
  expect_ends({{"axis", {3}, "rank 0: " + stopped_in("data' reduce_scatter", "rank 1", "rank 3")},
               {"axis", {0}, "rank 1: " + stopped_in("data' reduce_scatter", "rank 2", "rank 0")}});
}

TEST(HangTest, RanksThatWaitForEachOtherOrForWorkElsewhere) {
  expect_ends(
      {{"busy",
        {},
        R"(rank 0: 'world' barrier \d+ has waited 3 s; arrived: ranks 0, 2, 3; did not arrive: )"
        R"(rank 1 \(answers, but is busy outside of any operation; .* raise the limit\); in step 3\..*)"},
       {"crossed",
        {},
        R"(rank 0: '(data|world)' barrier \d+ has waited 3 s; .*did not arrive: rank \d )"
        R"(\(waits in '(world|data)' barrier \d+\); in step 3\..*)"},
       {"message",
        {},
        R"(rank 0: (rank 0 has waited 3 s for a message from rank 1 on 'world'; rank 1 waits in )"
        R"('world' barrier \d+|'world' barrier .* rank 0 \(waits in a message from rank 1 .*\)); .*)"}});
}

TEST(HangTest, SlowRanksAreNotShot) {
  Job job(3, {HANG_PROGRAM, "slow", "1.5"});
  EXPECT_EQ(job.end(), 0) << job.text();
  EXPECT_EQ(job.last_line_of_a_rank(), "") << job.text();
}

// A job that is suspended as a whole, as batch systems do, goes on afterwards.
TEST(HangTest, ASuspendedJobGoesOn) {
  Job job(3, {HANG_PROGRAM, "long", "2.2"});
  ASSERT_TRUE(job.read_until("ready")) << job.text();
  for (const int rank : {0, 1, 2}) ::kill(job.pid(rank), SIGSTOP);
  std::this_thread::sleep_for(std::chrono::milliseconds(2600));
  for (const int rank : {2, 1, 0}) ::kill(job.pid(rank), SIGCONT);
  EXPECT_EQ(job.end(std::chrono::seconds(60)), 0) << job.text();
  EXPECT_EQ(job.last_line_of_a_rank(), "") << job.text();
}

TEST(HangTest, AnAgreedFailureEndsAllAlike) {
  Job job(4, {HANG_PROGRAM, "agree", "0.6"});
  EXPECT_EQ(job.end(), 2) << job.text();
  EXPECT_EQ(job.last_line_of_a_rank(), "rank 1: web-0001.h5: the file is truncated") << job.text();
}

TEST(HangTest, AnOrderlyEndIsSilent) {
  for (const char* limit : {"0", "0.6"}) {
    Job job(4, {HANG_PROGRAM, "finish", limit});
    EXPECT_EQ(job.end(), 0) << job.text();
    EXPECT_NE(job.text().find("\nfinished\n"), std::string::npos) << job.text();
    EXPECT_EQ(job.last_line_of_a_rank(), "") << job.text();
  }
}

TEST(OrderTest, DifferentCallsAreNamedOverMpi) {
  ::setenv("EYRIE_CHECK_ORDER", "1", 1);
  expect_ends(
      {{"differ",
        {},
        "rank 0: the ranks of 'world' differ in operation \\d+: barrier on ranks 0, 2, 3, "
        "all_gather on rank 1"},
       {"sizes",
        {},
        "rank 0: the ranks of 'world' differ in operation \\d+: all_reduce .sum of "
        "integers. of 8 bytes on ranks 0, 2, 3, all_reduce .sum of integers. of 16 bytes on "
        "rank 1"}});
  ::unsetenv("EYRIE_CHECK_ORDER");
}

}  // namespace
}  // namespace eyrie::parallel
