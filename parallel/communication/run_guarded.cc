// The outermost frame of a job, and the last line that a failing rank prints.
#include "parallel/communication/run_guarded.h"

#include <exception>
#include <new>
#include <thread>

#include <fmt/format.h>

#include "base/error.h"
#include "base/log.h"
#include "base/output.h"

namespace eyrie::parallel {
namespace {

// Per thread: whether run_guarded() is running, and whether its failure was already reported.
thread_local bool guarded = false, told = false;
thread_local int guarded_status = 0;  // what it returned last

struct Failure {
  std::string message;
  bool agreed = false;
  int status = base::kExitFailure;
};

Failure describe(const std::exception& error) {
  const bool input = dynamic_cast<const base::InputError*>(&error) != nullptr;
  if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr)
    return {"out of memory: the system gave no more of it"};
  return {error.what(), dynamic_cast<const AgreedFailure*>(&error) != nullptr,
          input ? base::kExitInput : base::kExitFailure};
}

// For failures that need no abort: those of a single rank, and those that all ranks agreed on.
void print_failure(Communicator& world, const std::string& message) {
  if (world.size() == 1) {
    base::print_error(fmt::format("eyrie: {}\n", message));
  } else if (world.rank() == 0) {
    base::print_error(message + "\n");
  }
  base::flush_logs();
}

int end(Communicator& world, const Failure& failure) {
  if (world.size() > 1 && !failure.agreed) {
    if (!told) world.abort(failure.message, failure.status);
    std::this_thread::sleep_for(std::chrono::milliseconds(200));  // let the line reach the launcher
    end_all_ranks(failure.status);
  }
  if (!told) print_failure(world, failure.message);
  return failure.status;
}

}  // namespace

void tell_failure(Communicator& world, const std::exception& error) {
  if (!guarded || told || (world.size() > 1 && !is_mpi_running())) return;
  const Failure failure = describe(error);
  if (world.size() > 1 && !failure.agreed) {
    world.job().run_before_abort();
    base::flush_logs();
    print_last_line(world.rank(), failure.message);
  } else {
    print_failure(world, failure.message);
  }
  told = true;
  try {
    std::thread([status = failure.status] {
      std::this_thread::sleep_for(kCleanupLimit);
      end_all_ranks(status);
    }).detach();
  } catch (const std::exception&) {
    end_all_ranks(failure.status);
  }
}

int run_guarded(Communicator& world, const std::function<int()>& body) {
  guarded = true;
  told = false;
  try {
    guarded_status = body();
    guarded = false;
  } catch (const std::exception& error) {
    guarded = false;
    guarded_status = end(world, describe(error));
  } catch (...) {
    guarded = false;
    guarded_status = end(world, {"an exception that is no std::exception"});
  }
  return guarded_status;
}

int last_guarded_status() { return guarded_status; }

void print_last_line(int rank, const std::string& message) {
  base::print_error(fmt::format("rank {}: {}\n", rank, message));
}

}  // namespace eyrie::parallel
