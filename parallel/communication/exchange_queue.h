// A thread that runs exchanges while the caller computes.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "parallel/communication/communicator.h"

namespace eyrie::parallel {

// Runs tasks one after the other in the order posted, which must be the same on all ranks that a
// task communicates with. The caller owns the buffers and keeps them alive and untouched until
// wait() of their ticket. Declare the queue after the buffers, so that it is destroyed first when
// an error unwinds the stack.
class ExchangeQueue {
 public:
  using Ticket = std::int64_t;
  using Task = std::function<std::int64_t()>;  // returns the bytes sent

  // Collective: works on duplicates of these communicators, which must outlive the queue. Without a
  // thread (for planning) post() runs the task itself.
  explicit ExchangeQueue(std::initializer_list<Communicator*> communicators, bool threaded = true);
  // Runs all posted tasks to their end; when an exception unwinds the stack, gives up after a
  // second.
  ~ExchangeQueue();
  ExchangeQueue(const ExchangeQueue&) = delete;
  ExchangeQueue& operator=(const ExchangeQueue&) = delete;

  // The duplicate of the constructor's n-th communicator. For tasks only.
  Communicator& communicator(std::size_t n) const { return *communicators_[n]; }

  Ticket post(Task task);
  // Returns when this task and all tasks before it are done. Rethrows a task's exception; after a
  // failure every wait throws.
  void wait(Ticket ticket);
  void wait_all();

  struct Counters {
    std::int64_t bytes_sent = 0;
    double waited_seconds = 0;  // callers' time in wait(): what the computation did not hide
    double busy_seconds = 0;    // the thread's time in tasks
  };
  Counters counters() const;  // since the start; any thread

 private:
  void work();

  std::vector<std::unique_ptr<Communicator>> communicators_;  // used by thread_ (except interrupt)
  int exceptions_at_start_;

  mutable std::mutex mutex_;  // guards all below
  std::condition_variable changed_;
  std::deque<Task> tasks_;
  Ticket posted_ = 0;
  Ticket finished_ = 0;
  bool ending_ = false;
  std::exception_ptr failure_;
  Counters counters_;

  std::thread thread_;
};

}  // namespace eyrie::parallel
