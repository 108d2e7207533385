// Real jobs under scripts/mpi whose ranks are killed, signalled or fail: what the job says last,
// its status, its time.
#include "parallel/health/peer_monitor.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <regex>
#include <thread>

#include "parallel/health/job.h"
#include "parallel/health/stop.h"

namespace eyrie::parallel {
namespace {

using Clock = std::chrono::steady_clock;

// A job of watch_program.
class Job : public test_support::Job {
 public:
  Job(int ranks, const std::string& what) : test_support::Job(ranks, {WATCH_PROGRAM, what}) {}
};

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Kills `victim` with SIGKILL in a job of `ranks`, and checks that the job ends in time with a line
// that names it.
void kill_one(const std::string& what, int ranks, int victim, const std::string& where) {
  SCOPED_TRACE(what + ", rank " + std::to_string(victim) + " of " + std::to_string(ranks));
  Job job(ranks, what);
  ASSERT_TRUE(job.read_until("ready")) << job.text();
  const Clock::time_point start = Clock::now();
  ::kill(job.pid(victim), SIGKILL);
  EXPECT_GT(job.end(), 0) << job.text();
  EXPECT_LT(seconds_since(start), 10.0);
  const std::string last = job.last_line_of_a_rank();
  const std::regex expected("^rank (\\d+): rank " + std::to_string(victim) + " \\(pid " +
                            std::to_string(job.pid(victim)) +
                            " on \\S+\\) is gone: killed, out of memory or crashed .*; in step " +
                            where +
                            "\\. Start the same command again: it goes on from step-00000002\\.$");
  EXPECT_TRUE(std::regex_match(last, expected)) << job.text();
}

TEST(WatchTest, AKilledRankIsNamedLast) {
  kill_one("wait", 2, 0, "\\d+");
  kill_one("wait", 2, 1, "\\d+");
  kill_one("wait", 4, 2, "\\d+");
}

// All others sit in a collective call, and no signal is caught by the program.
TEST(WatchTest, WhileTheOthersWait) { kill_one("compute", 4, 0, "3"); }
TEST(WatchTest, WithoutSignalHandlers) {
  for (int i = 0; i < 3; ++i) kill_one("deaf", 3, 1, "\\d+");
}

TEST(WatchTest, ACrashIsNamed) {
  Job job(3, "crash");
  EXPECT_GT(job.end(), 0) << job.text();
  EXPECT_TRUE(
      std::regex_search(job.last_line_of_a_rank(), std::regex("^rank [02]: rank 1 .* is gone")))
      << job.text();
  EXPECT_NE(job.text().find("rank 1: crashed by signal 11 (Segmentation fault) at address 0x0\n"),
            std::string::npos)
      << job.text();
}

TEST(WatchTest, ARanksOwnMessageIsTheLast) {
  for (const int ranks : {2, 4}) {
    Job job(ranks, "throw");
    const Clock::time_point start = Clock::now();
    EXPECT_EQ(job.end(), 2) << job.text();
    EXPECT_LT(seconds_since(start), 10.0);
    EXPECT_EQ(job.last_line_of_a_rank(), "rank 1: data/shards/web-0001.h5: the file is truncated")
        << job.text();
  }
}

TEST(WatchTest, AnAgreedFailureEndsAllAlike) {
  Job job(3, "agree");
  EXPECT_EQ(job.end(), 2) << job.text();
  EXPECT_EQ(job.last_line_of_a_rank(), "rank 1: data/shards/web-0001.h5: the file is truncated")
      << job.text();
}

TEST(WatchTest, AnOrderlyEndIsSilent) {
  for (const int ranks : {1, 4}) {
    Job job(ranks, "finish");
    EXPECT_EQ(job.end(), 0) << job.text();
    EXPECT_NE(job.text().find("\nfinished\n"), std::string::npos) << job.text();
    EXPECT_EQ(job.last_line_of_a_rank(), "") << job.text();
  }
}

// SIGUSR1 to the launcher, or any of the signals to one rank: all ranks stop at a step's border
// with status 75.
TEST(StopTest, SignalsStopAllRanks) {
  const std::vector<std::pair<int, int>> signals = {
      {SIGUSR1, -1}, {SIGTERM, 0}, {SIGTERM, 2}, {SIGINT, 1}};
  for (const auto& [signal, rank] : signals) {
    SCOPED_TRACE("signal " + std::to_string(signal) + " to " + std::to_string(rank));
    Job job(3, "wait");
    ASSERT_TRUE(job.read_until("ready")) << job.text();
    ::kill(rank < 0 ? job.pid() : job.pid(rank), signal);
    EXPECT_EQ(job.end(), 75) << job.text();
    EXPECT_NE(job.text().find("\nstopping\n"), std::string::npos) << job.text();
    EXPECT_EQ(job.last_line_of_a_rank(), "") << job.text();
  }
}

// SIGTERM to the launcher of a job that catches nothing: it ends, and no rank blames another.
TEST(StopTest, TerminatingADeafJobBlamesNobody) {
  Job job(3, "deaf");
  ASSERT_TRUE(job.read_until("ready")) << job.text();
  const Clock::time_point start = Clock::now();
  ::kill(job.pid(), SIGTERM);
  EXPECT_NE(job.end(), 0) << job.text();
  EXPECT_LT(seconds_since(start), 10.0);
  EXPECT_EQ(job.last_line_of_a_rank(), "") << job.text();
}

TEST(StopTest, FlagAndVote) {
  clear_stop();
  EXPECT_FALSE(stop_requested());
  catch_stop_signals();
  for (const int signal : {SIGTERM, SIGUSR1, SIGUSR2, SIGXCPU, SIGINT}) {
    pollfd event = {stop_event(), POLLIN, 0};
    EXPECT_EQ(::poll(&event, 1, 0), 0);
    ::kill(::getpid(), signal);
    EXPECT_EQ(::poll(&event, 1, 20'000), 1);
    EXPECT_EQ(stop_signal(), signal);
    clear_stop();
  }
  run_in_process(4, [](Communicator& comm) { EXPECT_FALSE(stop_requested_anywhere(comm)); });
  request_stop(SIGUSR1);
  run_in_process(4, [](Communicator& comm) { EXPECT_TRUE(stop_requested_anywhere(comm)); });
  clear_stop();
}

// What a thread was doing is interrupted by no signal: its stack is not touched.
TEST(StopTest, NoHandlerRunsOnAThreadThatComputes) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");  // a process without the thread of this one
  EXPECT_EXIT(
      {
        catch_stop_signals();
        sigset_t blocked;
        bool all = true;
        std::thread([&] {  // made after
          ::pthread_sigmask(SIG_SETMASK, nullptr, &blocked);
          for (const int signal : {SIGTERM, SIGUSR1, SIGUSR2, SIGXCPU, SIGINT})
            all = all && sigismember(&blocked, signal) == 1;
        })
            .join();
        ::pthread_sigmask(SIG_SETMASK, nullptr, &blocked);
        for (const int signal : {SIGTERM, SIGUSR1, SIGUSR2, SIGXCPU, SIGINT})
          all = all && sigismember(&blocked, signal) == 1;
        ::_exit(all ? 0 : 1);
      },
      testing::ExitedWithCode(0), "");
}

TEST(StopTest, ASecondInterruptEndsTheProcess) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");  // a process without the thread of this one
  EXPECT_EXIT(
      {
        catch_stop_signals();
        ::kill(::getpid(), SIGINT);
        while (!stop_requested()) ::usleep(1000);
        ::kill(::getpid(), SIGINT);
        ::sleep(20);
      },
      testing::KilledBySignal(SIGINT), "");
}

TEST(StopTest, WhatIsNotCaughtEndsTheProcess) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");  // a process without the thread of this one
  for (const int signal : {SIGTERM, SIGUSR1, SIGINT}) {
    EXPECT_EXIT(
        {
          start_signal_thread();
          ::kill(::getpid(), signal);
          ::sleep(20);
        },
        testing::KilledBySignal(signal), "");
    EXPECT_EXIT(
        {
          catch_stop_signals();
          ::kill(::getpid(), signal);
          while (!stop_requested()) ::usleep(1000);
          restore_stop_signals();
        },
        testing::KilledBySignal(signal), "");
  }
}

// Ctrl-C or SIGTERM to the launcher asks the ranks to stop; the launcher's own notices are left
// out.
TEST(StopTest, TerminatingTheLauncherAsksForAStop) {
  Job job(2, "wait");
  ASSERT_TRUE(job.read_until("ready")) << job.text();
  ::kill(job.pid(), SIGTERM);
  EXPECT_EQ(job.end(), 75) << job.text();
  EXPECT_EQ(job.text().find("mpirun"), std::string::npos) << job.text();
  EXPECT_EQ(job.text().find("-----"), std::string::npos) << job.text();
}

TEST(WatchTest, RanksOfOneProcessNeedNoWatch) {
  run_in_process(4, [](Communicator& comm) {
    PeerMonitor watch(comm);
    watch.set_doing("a test");
    watch.finish();
  });
}

}  // namespace
}  // namespace eyrie::parallel
