// Real jobs under scripts/mpi whose ranks are killed, signalled or fail: what the job says last,
// its status, its time.
#include "parallel/watch.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <map>
#include <regex>
#include <sstream>

#include "parallel/stop.h"
#include "support/watchdog.h"

extern char** environ;

namespace eyrie::parallel {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

// A job in a process group of its own; whatever is left of it is killed at the end.
class Job {
 public:
  Job(int ranks, const std::string& what) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) std::abort();
    output_ = ends[0];
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO);
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
    const std::string launcher = EYRIE_SOURCE_DIR "/scripts/mpi", count = std::to_string(ranks);
    const std::vector<std::string> words = {launcher, count, WATCH_PROGRAM, what};
    std::vector<char*> arguments;
    for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    if (::posix_spawn(&pid_, launcher.c_str(), &actions, &attributes, arguments.data(), environ) !=
        0)
      std::abort();
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    ::close(ends[1]);
  }
  ~Job() {
    if (status_ < 0) {
      ::kill(-pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
    for (const auto& [rank, pid] : ranks_) ::kill(pid, SIGKILL);
    ::close(output_);
  }

  // Reads until a line is `wanted`; returns whether it came.
  bool read_until(const std::string& wanted, std::chrono::seconds limit = 20s) {
    const Clock::time_point end = Clock::now() + limit;
    while (text_.find("\n" + wanted + "\n") == std::string::npos) {
      if (Clock::now() > end || !read_some(end)) return false;
    }
    const std::regex pid_line("pid (\\d+) (\\d+)");
    for (std::sregex_iterator i(text_.begin(), text_.end(), pid_line); i != std::sregex_iterator();
         ++i) {
      ranks_[std::stoi((*i)[1])] = std::stoi((*i)[2]);
    }
    return true;
  }

  // Reads to the end of the job; its exit status, or 128 + signal.
  int end(std::chrono::seconds limit = 20s) {
    const Clock::time_point end = Clock::now() + limit;
    while (read_some(end)) {
    }
    int status = 0;
    while (::waitpid(pid_, &status, WNOHANG) == 0) {
      if (Clock::now() > end) return -1;
      ::usleep(10000);
    }
    status_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return status_;
  }

  pid_t pid() const { return pid_; }
  pid_t pid(int rank) const { return ranks_.at(rank); }
  const std::string& text() const { return text_; }
  std::string last_line_of_a_rank() const {
    std::istringstream lines(text_);
    std::string line, last;
    while (std::getline(lines, line)) {
      if (std::regex_search(line, std::regex("^rank \\d+: "))) last = line;
    }
    return last;
  }

 private:
  bool read_some(Clock::time_point end) {
    pollfd file = {output_, POLLIN, 0};
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now()).count();
    if (left <= 0 || ::poll(&file, 1, static_cast<int>(left)) <= 0) return false;
    char bytes[4096];
    const ssize_t count = ::read(output_, bytes, sizeof(bytes));
    if (count <= 0) return false;
    text_.append(bytes, static_cast<std::size_t>(count));
    return true;
  }

  pid_t pid_ = -1;
  int output_ = -1;
  int status_ = -1;
  std::string text_ = "\n";
  std::map<int, pid_t> ranks_;
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
  ::raise(SIGTERM);
  EXPECT_EQ(stop_signal(), SIGTERM);
  clear_stop();
  run_in_process(4, [](Communicator& comm) { EXPECT_FALSE(stop_requested_anywhere(comm)); });
  request_stop(SIGUSR1);
  run_in_process(4, [](Communicator& comm) { EXPECT_TRUE(stop_requested_anywhere(comm)); });
  clear_stop();
  for (const int signal : {SIGTERM, SIGUSR1, SIGINT}) ::signal(signal, SIG_DFL);
}

TEST(WatchTest, RanksOfOneProcessNeedNoWatch) {
  run_in_process(4, [](Communicator& comm) {
    PeerWatch watch(comm);
    watch.set_doing("a test");
    watch.finish();
  });
}

}  // namespace
}  // namespace eyrie::parallel
