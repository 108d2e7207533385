// The outermost frame of a job: an exception on one rank ends all ranks, and that rank's message is
// the last line.
#pragma once

#include <chrono>
#include <exception>
#include <functional>

#include "parallel/communication/communicator.h"

namespace eyrie::parallel {

// Marks the errors that agree() throws on every rank; their message already names the failing rank.
class AgreedFailure {
 public:
  virtual ~AgreedFailure() = default;
};

// Runs `body` and returns its exit status. An exception becomes the status instead:
// base::kExitInput for an InputError, else base::kExitFailure. A failure that all ranks agreed on
// is printed by rank 0 and returned by every rank; any other failure belongs to this rank alone and
// ends the whole job by world.abort(). With one rank the message starts with "eyrie: " instead of a
// rank. Everything that communicates with other ranks (watch, queues) must live inside `body`.
int run_guarded(Communicator& world, const std::function<int()>& body);

// What run_guarded() returned last; 0 before that.
int last_guarded_status();

// Reports an error inside run_guarded() at the place where it is caught, because the cleanup that
// follows may take long (a save to a slow disk). run_guarded() does not report it again. If this
// process has not ended kCleanupLimit later, the job is ended. Does nothing outside run_guarded(),
// or if ranks are threads of one process.
void tell_failure(Communicator& world, const std::exception& error);
constexpr std::chrono::seconds kCleanupLimit{6};

// Prints "rank N: message" (newlines kept) in one write straight to stderr, so that it can be the
// last line.
void print_last_line(int rank, const std::string& message);

// Ends every rank of an MPI job (without MPI: this process) at once and prints nothing.
[[noreturn]] void end_all_ranks(int status);

// Whether ranks are processes of a running MPI job.
bool is_mpi_running();

}  // namespace eyrie::parallel
