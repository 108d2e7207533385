// The outermost frame of a job, and the last line that a failing rank prints.
#include "parallel/guard.h"

#include <exception>
#include <mutex>
#include <new>
#include <thread>

#include <fmt/format.h>

#include "base/error.h"
#include "base/log.h"
#include "base/output.h"

namespace eyrie::parallel {
namespace {

std::mutex hook_mutex;
std::function<void()> before_abort;  // guarded by hook_mutex

// Of this thread, inside of guard().
thread_local bool guarded = false, told = false;

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

// What needs no abort: the only rank's message, and what all ranks agreed on.
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
    std::this_thread::sleep_for(std::chrono::milliseconds(200));  // the line must travel
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
    run_before_abort();
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

int guard(Communicator& world, const std::function<int()>& body) {
  guarded = true;
  told = false;
  try {
    const int status = body();
    guarded = false;
    return status;
  } catch (const std::exception& error) {
    guarded = false;
    return end(world, describe(error));
  } catch (...) {
    guarded = false;
    return end(world, {"an exception that is no std::exception"});
  }
}

void print_last_line(int rank, const std::string& message) {
  base::print_error(fmt::format("rank {}: {}\n", rank, message));
}

void set_before_abort(std::function<void()> hook) {
  std::lock_guard lock(hook_mutex);
  before_abort = std::move(hook);
}

void run_before_abort() {
  std::function<void()> hook;
  {
    std::lock_guard lock(hook_mutex);
    hook = before_abort;
  }
  if (hook) hook();
}

}  // namespace eyrie::parallel
