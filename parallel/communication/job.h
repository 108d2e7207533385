// What the communicators of one process have in common.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "parallel/communication/progress.h"

namespace eyrie::parallel {

// A world and all its duplicates and splits share one. Any thread.
class Job {
 public:
  // Whether ranks compare their calls. Set when the world opens, to the same value on all ranks.
  bool checks_order = false;

  // The progress in all communicators that still exist: what the watchdog reports.
  void add(const std::shared_ptr<const Progress>& progress);
  std::vector<std::shared_ptr<const Progress>> all_progress() const;

  // Called before an abort prints its message. PeerMonitor sets it, so that an error that is only a
  // consequence of another rank's death does not hide who died. At most one at a time; empty: none.
  void set_before_abort(std::function<void()> hook);
  void run_before_abort();

 private:
  mutable std::mutex mutex_;  // guards all below
  mutable std::vector<std::weak_ptr<const Progress>> progress_;
  std::function<void()> before_abort_;
};

}  // namespace eyrie::parallel
