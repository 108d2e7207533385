// Printing over stdio's stdout, so that what libraries print is covered too.
#include "base/output.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <iostream>
#include <streambuf>
#include <string>
#include <system_error>

#include "base/error.h"
#include "base/shown.h"

namespace eyrie::base {
namespace {

// The errno of the first write to stdout that failed; 0: none.
std::atomic<int> first_failure{0};

void note_failure(int error) {
  int none = 0;
  first_failure.compare_exchange_strong(none, error != 0 ? error : EIO);
}

void put(std::string_view text) {
  errno = 0;
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size()) note_failure(errno);
}

void hand_over() {
  errno = 0;
  if (std::fflush(stdout) != 0) note_failure(errno);
  if (std::ferror(stdout) != 0) note_failure(EIO);
}

std::string failure_text(int error) {
  if (error == EBADF) return "stdout is closed: nothing can be printed";
  return "printing to stdout failed: " + std::generic_category().message(error);
}

// A stream buffer that passes what is written to a C++ stream to print_text or print_error.
class Through : public std::streambuf {
 public:
  explicit Through(void (*to)(std::string_view)) : to_(to) {}

 protected:
  std::streamsize xsputn(const char* text, std::streamsize count) override {
    to_({text, static_cast<std::size_t>(count)});
    return count;
  }
  int overflow(int c) override {
    if (c != traits_type::eof()) {
      const char one = static_cast<char>(c);
      to_({&one, 1});
    }
    return 0;
  }

 private:
  void (*to_)(std::string_view);
};

}  // namespace

void open_standard_streams() {
  for (int descriptor = 0; descriptor <= 2; ++descriptor) {
    if (::fcntl(descriptor, F_GETFD) != -1 || errno != EBADF) continue;
    // The lowest free number is this one. Opened read-only: writing to it fails, also after the
    // program has restarted itself.
    (void)!::open("/dev/null", O_RDONLY);
  }
  ::signal(SIGPIPE, SIG_IGN);
  // Never destroyed: the streams live until the very end.
  static auto* const out = new Through(print_text);
  static auto* const error = new Through(print_error);
  std::cout.rdbuf(out);
  std::cerr.rdbuf(error);
  std::clog.rdbuf(error);
}

void print_text(std::string_view text) { put(shown_lines(text)); }
void print_json(std::string_view json) { put(shown_json(json)); }

void print_error(std::string_view text) {
  hand_over();
  const std::string safe = shown_lines(text);
  for (std::string_view left = safe; !left.empty();) {
    const ssize_t count = ::write(STDERR_FILENO, left.data(), left.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return;
    left.remove_prefix(static_cast<std::size_t>(count));
  }
}

void check_output_is_open() {
  const int flags = ::fcntl(STDOUT_FILENO, F_GETFL);
  if (flags == -1 || (flags & O_ACCMODE) == O_RDONLY) throw Error(failure_text(EBADF));
}

void end_without_reader() {
  ::signal(SIGPIPE, SIG_DFL);
  sigset_t only;
  sigemptyset(&only);
  sigaddset(&only, SIGPIPE);
  ::pthread_sigmask(SIG_UNBLOCK, &only, nullptr);
  ::raise(SIGPIPE);
  ::_exit(128 + SIGPIPE);
}

void flush_output() {
  hand_over();
  const int error = first_failure.load();
  if (error == EPIPE) end_without_reader();
  if (error != 0) throw Error(failure_text(error));
}

int finish_output(int status) {
  hand_over();
  const int error = first_failure.load();
  if (error == 0) return status;
  if (error == EPIPE && status == kExitDone) end_without_reader();
  if (error != EPIPE) print_error("eyrie: " + with_rank(failure_text(error)) + "\n");
  return status == kExitDone ? kExitFailure : status;
}

}  // namespace eyrie::base
