// The outermost frame of a job, and the last line that a failing rank prints.
#include "parallel/guard.h"

#include <exception>
#include <mutex>
#include <new>

#include <fmt/format.h>

#include "base/error.h"
#include "base/log.h"
#include "base/output.h"

namespace eyrie::parallel {
namespace {

std::mutex hook_mutex;
std::function<void()> before_abort;  // guarded by hook_mutex

int end(Communicator& world, const std::string& message, bool agreed, int status) {
  if (world.size() > 1 && !agreed) world.abort(message, status);
  if (world.size() == 1) {
    base::print_error(fmt::format("eyrie: {}\n", message));
  } else if (world.rank() == 0) {
    base::print_error(message + "\n");
  }
  base::flush_logs();
  return status;
}

}  // namespace

int guard(Communicator& world, const std::function<int()>& body) {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return end(world, "out of memory: the system gave no more of it", false, base::kExitFailure);
  } catch (const std::exception& error) {
    const bool agreed = dynamic_cast<const AgreedFailure*>(&error) != nullptr;
    const bool input = dynamic_cast<const base::InputError*>(&error) != nullptr;
    return end(world, error.what(), agreed, input ? base::kExitInput : base::kExitFailure);
  } catch (...) {
    return end(world, "an exception that is no std::exception", false, base::kExitFailure);
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
