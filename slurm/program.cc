// Another program's run, with its output read through pipes.
#include "slurm/program.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "base/error.h"

extern char** environ;

namespace eyrie::slurm {
namespace {

[[noreturn]] void fail(const std::string& what, int reason) {
  throw base::Error(what + ": " + std::strerror(reason));
}

struct Pipe {
  int read = -1, write = -1;
  Pipe() {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) fail("a pipe cannot be created", errno);
    read = ends[0];
    write = ends[1];
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  ~Pipe() {
    close_end(read);
    close_end(write);
  }
  static void close_end(int& end) {
    if (end >= 0) ::close(end);
    end = -1;
  }
};

// Reads both to their ends, whichever has something.
void read_all(Pipe& first, std::string& to_first, Pipe& second, std::string& to_second) {
  std::array<char, 65536> buffer;
  while (first.read >= 0 || second.read >= 0) {
    std::array<pollfd, 2> ends = {pollfd{first.read, POLLIN, 0}, pollfd{second.read, POLLIN, 0}};
    if (poll(ends.data(), ends.size(), -1) < 0) {
      if (errno == EINTR) continue;
      fail("poll", errno);
    }
    for (std::size_t i = 0; i < ends.size(); ++i) {
      if (ends[i].revents == 0) continue;
      const ssize_t count = ::read(ends[i].fd, buffer.data(), buffer.size());
      if (count < 0 && errno == EINTR) continue;
      if (count > 0) {
        (i == 0 ? to_first : to_second).append(buffer.data(), static_cast<std::size_t>(count));
      } else {
        Pipe::close_end(i == 0 ? first.read : second.read);
      }
    }
  }
}

}  // namespace

ProgramResult run_program(const std::vector<std::string>& arguments) {
  std::vector<char*> words;
  for (const std::string& argument : arguments)
    words.push_back(const_cast<char*>(argument.c_str()));
  words.push_back(nullptr);
  Pipe output, errors;
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, output.write, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, errors.write, STDERR_FILENO);
  // This process blocks signals for a thread of its own (parallel/health/stop.h).
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  pid_t child = 0;
  const int error = posix_spawnp(&child, words[0], &actions, &attributes, words.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  ProgramResult result;
  if (error == ENOENT) {
    result.found = false;
    result.status = 127;
    result.errors = arguments[0] + ": no such command";
    return result;
  }
  if (error != 0) fail(arguments[0] + " cannot be started", error);
  Pipe::close_end(output.write);
  Pipe::close_end(errors.write);
  read_all(output, result.output, errors, result.errors);
  int status = 0;
  while (waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) fail("waiting for " + arguments[0], errno);
  }
  result.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return result;
}

}  // namespace eyrie::slurm
