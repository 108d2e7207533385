// The one way out of what a command prints. What could not be handed over is known at the end,
// whoever printed it: main() ends every command with finish_output(). Control characters are shown,
// not obeyed (base/shown.h).
#pragma once

#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace eyrie::base {

// First in main(): descriptors 0 to 2 that are closed are taken by /dev/null, so that no file that
// is opened later gets their number and what is printed (writing to them still fails); writing to
// a pipe that nobody reads is an error and not the end of the process; std::cout and std::cerr go
// the way of what is below.
void open_standard_streams();

// To stdout. Never fail: what goes wrong is kept for the calls below.
void print_text(std::string_view text);  // line breaks and tabs stay, other controls are shown
void print_json(std::string_view json);  // the same values
template <class... Arguments>
void print(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
  print_text(fmt::format(format, std::forward<Arguments>(arguments)...));
}

// To stderr, in one write, after what stdout still holds. A failure is nowhere to be told.
void print_error(std::string_view text);

// An Error where stdout cannot take anything: before a long work whose result is printed.
void check_output_is_open();

// Hands over what was printed so far. An Error with the reason where that failed, now or before.
// Where the reader has gone away (`| head`) the process ends as if by SIGPIPE, with no message, as
// other tools do.
void flush_output();

// The end of a process whose reader has gone away.
[[noreturn]] void end_without_reader();

// At the end of the command, whose exit status so far is `status`: flushes, and returns the exit
// status of all, after a message where something could not be written. A status other than 0
// stays.
int finish_output(int status);

}  // namespace eyrie::base
