// Ends the program when a test hangs, so that a lost message costs a minute and names its test.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

namespace eyrie::test_support {

// While it lives, a thread waits; after `limit` it prints what hung, with the rank of the thread
// that made it, and ends the process with status 124.
class Watchdog {
 public:
  Watchdog(std::string what, std::chrono::seconds limit);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool over_ = false;  // guarded by mutex_
  std::thread thread_;
};

}  // namespace eyrie::test_support
