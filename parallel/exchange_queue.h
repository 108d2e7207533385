// One thread that exchanges while the caller computes.
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

#include "parallel/communicator.h"

namespace eyrie::parallel {

// Tasks run one after the other in the order posted, which must be the same on all ranks that they
// talk to. Buffers belong to the caller and must live, untouched, until wait() of their ticket:
// declare the queue after the buffers, so that it goes first when an error ends the work.
class ExchangeQueue {
 public:
  using Ticket = std::int64_t;
  using Task = std::function<std::int64_t()>;  // returns the bytes sent

  // Collective: works on duplicates of these, which must outlive the queue.
  explicit ExchangeQueue(std::initializer_list<Communicator*> communicators);
  // Runs what was posted to its end; when an exception is on its way out, gives up after a second.
  ~ExchangeQueue();
  ExchangeQueue(const ExchangeQueue&) = delete;
  ExchangeQueue& operator=(const ExchangeQueue&) = delete;

  // The duplicate of the constructor's n-th, for tasks alone.
  Communicator& communicator(std::size_t n) const { return *communicators_[n]; }

  Ticket post(Task task);
  // Returns when this task and all before it are done. Rethrows what went wrong; after a failure
  // every wait throws.
  void wait(Ticket ticket);
  void wait_all();

  struct Counters {
    std::int64_t bytes_sent = 0;
    double waited_seconds =
        0;  // callers spent in wait(): what the exchange cost beyond the computation beside it
    double busy_seconds = 0;  // the thread spent on tasks
  };
  Counters counters() const;  // since the start; any thread

 private:
  void work();

  std::vector<std::unique_ptr<Communicator>> communicators_;  // used by thread_ (but for interrupt)
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
