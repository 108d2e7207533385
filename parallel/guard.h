// The outermost frame of a job: what is thrown on one rank ends all of them, with that rank's
// message last.
#pragma once

#include <chrono>
#include <exception>
#include <functional>

#include "parallel/communicator.h"

namespace eyrie::parallel {

// Marks the errors that agree() throws on every rank alike; their message names the failing rank
// already.
class AgreedFailure {
 public:
  virtual ~AgreedFailure() = default;
};

// Runs `body` and returns its exit status. What it throws becomes the status instead:
// base::kExitInput for an InputError, else base::kExitFailure. A failure that all ranks agreed on
// is printed by rank 0 and returned by every rank; any other is this rank's alone and ends the
// whole job by world.abort(). With one rank the message is printed after "eyrie: ", without a rank.
// Everything that talks to other ranks (watch, queues) must live inside `body`.
int guard(Communicator& world, const std::function<int()>& body);

// Inside of guard(), where an error is caught before the objects that it passes go: tells it at
// once, as guard() would, since their cleanup may take long (a save behind a slow disk). guard()
// does not tell it again. Should this process not have ended kCleanupLimit later, the job ends
// without more ado. Does nothing outside of guard(), nor where ranks are threads of one process.
void tell_failure(Communicator& world, const std::exception& error);
constexpr std::chrono::seconds kCleanupLimit{6};

// Prints "rank N: message" (all newlines kept) in one write, straight to stderr, so that it can be
// the last line.
void print_last_line(int rank, const std::string& message);

// Ends every rank of an MPI job (this process alone where there is no MPI) at once, printing
// nothing.
[[noreturn]] void end_all_ranks(int status);

// Whether ranks are processes of an MPI job that is under way.
bool is_mpi_running();

// Called first by Communicator::abort over MPI, before it prints. PeerWatch sets it, so that an
// error that is only the echo of another rank's death does not hide who died. Empty: nothing is
// called. At most one at a time; thread-safe.
void set_before_abort(std::function<void()> hook);
void run_before_abort();

}  // namespace eyrie::parallel
