// Errors: what is thrown for wrong input, what aborts on a broken invariant, and how a message
// names its rank.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace eyrie::base {

// Exit statuses of the eyrie command.
constexpr int kExitDone = 0;
constexpr int kExitFailure = 1;   // anything but wrong user input
constexpr int kExitInput = 2;     // the user's input is wrong
constexpr int kExitStopped = 75;  // stopped on request, after a checkpoint was saved

// A failure other than wrong user input: a full disk, a lost rank. Ends the command with
// kExitFailure.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The user's input is wrong. The message names file, line, key, value and what to do. Ends the
// command with kExitInput.
class InputError : public Error {
 public:
  using Error::Error;
};

// The rank of this thread in the job; -1 (the default) outside a job. Thread-local, because
// in-process ranks are threads; a thread started for a rank must set it again.
void set_rank(int rank);
int rank();

// "rank 3: message", or the message alone outside a job.
std::string with_rank(const std::string& message);

// "1 rank", "4 ranks": for messages.
std::string counted(std::int64_t count, const std::string& what);

// Returns the candidate closest to `word` by edit distance, or "" if none is close enough to be a
// misspelling.
std::string nearest(const std::string& word, const std::vector<std::string>& candidates);

// Prints rank, place, condition and message with a stack trace to stderr, then aborts.
[[noreturn]] void check_failed(const char* file, int line, const char* condition,
                               const std::string& message);

}  // namespace eyrie::base

// Checks an invariant of Eyrie itself. Never for user input: that is an InputError.
#define EYRIE_CHECK(condition, message) \
  ((condition) ? (void)0 : ::eyrie::base::check_failed(__FILE__, __LINE__, #condition, (message)))
