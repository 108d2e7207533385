// Everything that a command prints goes through here. A failure to write is known at the end,
// whoever printed: main() ends every command with finish_output(). Control characters are shown,
// not obeyed (base/shown.h).
#pragma once

#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace eyrie::base {

// Call it first in main(). Closed descriptors among 0 to 2 are opened on /dev/null, so that no file
// opened later gets their number and the printed output (writing to them still fails). Writing to a
// pipe that nobody reads becomes an error and does not end the process. std::cout and std::cerr are
// redirected to the functions below.
void open_standard_streams();

// Print to stdout. They never fail: errors are kept for the functions below.
void print_text(std::string_view text);  // keeps line breaks and tabs, shows other controls
void print_json(std::string_view json);  // keeps the values
template <class... Arguments>
void print(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
  print_text(fmt::format(format, std::forward<Arguments>(arguments)...));
}

// Prints to stderr, in one write, after flushing stdout. Failures are ignored: they cannot be
// reported anywhere.
void print_error(std::string_view text);

// Throws Error if stdout cannot take anything: call it before long work whose result is printed.
void check_output_is_open();

// Flushes what was printed so far. Throws Error with the reason if writing failed, now or before.
// If the reader has gone away (`| head`), the process ends as if by SIGPIPE, without a message, as
// other tools do.
void flush_output();

// Ends a process whose reader has gone away.
[[noreturn]] void end_without_reader();

// Call it at the end of the command, whose exit status so far is `status`. Flushes and returns the
// final exit status; if something could not be written, prints a message first. A status other than
// 0 is kept.
int finish_output(int status);

}  // namespace eyrie::base
