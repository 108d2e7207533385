// A dialogue at the terminal. Each turn reads only the new text, so the time to the first token,
// which is printed, does not grow with the history.
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>

#include "base/error.h"
#include "base/log.h"
#include "base/output.h"
#include "cli/generate.h"
#include "generation/chat.h"
#include "parallel/health/stop.h"

namespace eyrie::cli {
namespace {

// Reads lines from standard input. Stop signals do not interrupt this thread's system calls, so it
// also polls for a request to stop.
class InputLines {
 public:
  // Reads the next line, without its line break. Returns false at the end of input or after Ctrl-C.
  bool next(std::string& line) {
    std::size_t end = 0;
    while ((end = rest_.find('\n')) == std::string::npos && read_some()) continue;
    if (parallel::stop_requested() || rest_.empty()) return false;
    line = rest_.substr(0, end);
    rest_.erase(0, end == std::string::npos ? end : end + 1);
    while (!line.empty() && line.back() == '\r') line.pop_back();
    return true;
  }

 private:
  bool read_some() {
    pollfd files[] = {{STDIN_FILENO, POLLIN, 0}, {parallel::stop_event(), POLLIN, 0}};
    while (::poll(files, 2, -1) < 0 && errno == EINTR) continue;
    if (parallel::stop_requested()) return false;
    char bytes[4096];
    const ssize_t count = ::read(STDIN_FILENO, bytes, sizeof(bytes));
    if (count > 0) rest_.append(bytes, static_cast<std::size_t>(count));
    return count > 0;
  }

  std::string rest_;
};

}  // namespace

int chat(const GenerateOptions& options, const checkpoint::OpenedModel& opened,
         generation::Decoder& decoder) {
  generation::Chat dialogue(decoder, *opened.tokenizer, options.text);
  if (!dialogue.has_control_tokens()) {
    base::log_warning(fmt::format(
        "{}: the tokenizer has no <start_of_turn> and <end_of_turn>; they are written out as text, "
        "so that what is typed can imitate them",
        opened.description));
  }
  const bool terminal = ::isatty(STDIN_FILENO) != 0;
  if (terminal) base::print("{}. /reset forgets, /exit or Ctrl-D ends.\n", opened.description);
  InputLines lines;
  std::string line;
  while (true) {
    if (terminal) {
      base::print("\n> ");
      base::flush_output();
    }
    line.clear();
    if (!lines.next(line) || line == "/exit") break;
    if (line == "/reset") {
      dialogue.reset();
      continue;
    }
    if (line.empty()) continue;
    const auto turn = dialogue.say(
        line,
        [](const std::string& piece) {
          base::print_text(piece);
          base::flush_output();
        },
        parallel::stop_requested);
    base::print("\n");
    base::flush_output();
    base::print_error(fmt::format(
        "[first token after {:.3f} s; {} tokens read, {} made in {:.2f} s; state {:.2f} MB]\n",
        turn.counters.first_token_seconds, turn.counters.prompt_tokens, turn.counters.new_tokens,
        turn.counters.new_seconds, static_cast<double>(dialogue.state().bytes()) / 1e6));
    // During a reply Ctrl-C ends the reply; at the prompt it ends the dialogue.
    if (turn.finish == generation::Finish::kInterrupted) {
      if (parallel::stop_signal() != SIGINT) break;
      parallel::clear_stop();
    }
  }
  if (terminal) base::print("\n");
  return base::kExitDone;
}

}  // namespace eyrie::cli
