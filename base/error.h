// Errors: what is thrown for a wrong input, what aborts for a broken invariant, and how a message names its rank.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace eyrie::base {

// Exit statuses of the eyrie command.
constexpr int kExitDone = 0;
constexpr int kExitFailure = 1;  // anything that is not the user's input
constexpr int kExitInput = 2;    // the user's input is wrong
constexpr int kExitStopped = 75; // stopped on request, after a checkpoint was saved

// Something failed that is not the user's input: a full disk, a lost rank. Ends the command with kExitFailure.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The user's input is wrong. The message names file, line, key, value and what to do. Ends with kExitInput.
class InputError : public Error {
 public:
  using Error::Error;
};

// The rank of this thread in the job; -1 (the default) outside of a job. Thread-local, because in-process ranks are
// threads; a thread that is started for a rank must set it again.
void set_rank(int rank);
int rank();

// "rank 3: message", or the message alone outside of a job.
std::string with_rank(const std::string& message);

// "1 rank", "4 ranks": for messages.
std::string counted(std::int64_t count, const std::string& what);

// The candidate closest to `word` by edit distance, or "" when none is near enough to be a slip of the pen.
std::string nearest(const std::string& word, const std::vector<std::string>& candidates);

// Prints rank, place, condition and message with a stack trace to stderr, then aborts.
[[noreturn]] void check_failed(const char* file, int line, const char* condition, const std::string& message);

}  // namespace eyrie::base

// An invariant of Eyrie itself. Never for what a user wrote: that is an InputError.
#define EYRIE_CHECK(condition, message) \
  ((condition) ? (void)0 : ::eyrie::base::check_failed(__FILE__, __LINE__, #condition, (message)))
