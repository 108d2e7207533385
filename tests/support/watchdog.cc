// The watchdog of tests: a thread that ends the process when the work takes too long.
#include "support/watchdog.h"

#include <unistd.h>

#include <fmt/format.h>

#include "base/error.h"

namespace eyrie::test_support {

Watchdog::Watchdog(std::string what, std::chrono::seconds limit)
    : thread_([this, what = std::move(what), limit, rank = base::rank()] {
        base::set_rank(rank);
        std::unique_lock lock(mutex_);
        if (changed_.wait_for(lock, limit, [this] { return over_; })) return;
        const std::string line = base::with_rank(
            fmt::format("{} has not ended within {} s; giving up\n", what, limit.count()));
        // No destructors and no streams: whatever hangs may hold their locks.
        (void)!::write(STDERR_FILENO, line.data(), line.size());
        ::_exit(124);
      }) {}

Watchdog::~Watchdog() {
  {
    std::lock_guard lock(mutex_);
    over_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

}  // namespace eyrie::test_support
