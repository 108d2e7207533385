// A real job under scripts/mpi, started by a test: its output, its ranks' processes, its end.
#pragma once

#include <fcntl.h>
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
#include <string>
#include <vector>

extern char** environ;

namespace eyrie::test_support {

// A job in a process group of its own; whatever is left of it is killed at the end, stopped
// processes too.
class Job {
 public:
  using Clock = std::chrono::steady_clock;

  Job(int ranks, const std::vector<std::string>& program) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) std::abort();
    output_ = ends[0];
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO);
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    // Signals that this process takes elsewhere are not blocked in the job.
    sigset_t none;
    sigemptyset(&none);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
    const std::string launcher = EYRIE_SOURCE_DIR "/scripts/mpi", count = std::to_string(ranks);
    std::vector<std::string> words = {launcher, count};
    words.insert(words.end(), program.begin(), program.end());
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
  bool read_until(const std::string& wanted,
                  std::chrono::seconds limit = std::chrono::seconds(20)) {
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
  int end(std::chrono::seconds limit = std::chrono::seconds(20)) {
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

}  // namespace eyrie::test_support
