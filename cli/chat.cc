// A dialogue at the terminal. Each turn reads only what is new: the time to the first token, which
// is printed, does not grow with the history.
#include <fmt/format.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "base/error.h"
#include "base/log.h"
#include "base/output.h"
#include "cli/generate.h"
#include "parallel/stop.h"

namespace eyrie::cli {
namespace {

// One line without its end; false at the end of input, or when Ctrl-C was pressed.
bool read_line(std::string& line) {
  char* memory = nullptr;
  std::size_t size = 0;
  const ssize_t length = ::getline(&memory, &size, stdin);
  if (length > 0) line.assign(memory, static_cast<std::size_t>(length));
  std::free(memory);
  while (!line.empty() && (line.back() == '\n' || line.back() == '\r')) line.pop_back();
  return length > 0 && !parallel::stop_requested();
}

}  // namespace

int chat(const GenerateOptions& options, const trainer::OpenedModel& opened,
         model::Decoder& decoder) {
  model::Chat dialogue(decoder, *opened.tokenizer, options.text);
  if (!dialogue.has_control_tokens()) {
    base::log_warning(fmt::format(
        "{}: the tokenizer has no <start_of_turn> and <end_of_turn>; they are written out as text, "
        "so that what is typed can imitate them",
        opened.description));
  }
  const bool terminal = ::isatty(STDIN_FILENO) != 0;
  if (terminal) base::print("{}. /reset forgets, /exit or Ctrl-D ends.\n", opened.description);
  std::string line;
  while (true) {
    if (terminal) {
      base::print("\n> ");
      base::flush_output();
    }
    line.clear();
    if (!read_line(line) || line == "/exit") break;
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
    // Ctrl-C cuts a reply short; pressed at the prompt it ends the dialogue.
    if (turn.finish == model::Finish::kInterrupted) {
      if (parallel::stop_signal() != SIGINT) break;
      parallel::clear_stop();
    }
  }
  if (terminal) base::print("\n");
  return base::kExitDone;
}

}  // namespace eyrie::cli
