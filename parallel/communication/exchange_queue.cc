// The exchange thread.
#include "parallel/communication/exchange_queue.h"

#include <chrono>
#include <utility>

#include "base/crash.h"
#include "base/error.h"
#include "tensor/threads.h"

namespace eyrie::parallel {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace

ExchangeQueue::ExchangeQueue(std::initializer_list<Communicator*> communicators, bool threaded)
    : exceptions_at_start_(std::uncaught_exceptions()) {
  for (Communicator* communicator : communicators)
    communicators_.push_back(communicator->duplicate());
  if (!threaded) return;
  thread_ = std::thread([this, rank = base::rank()] {
    base::set_rank(rank);
    base::use_signal_stack();
    tensor::set_thread_count(1);  // sums on this thread must not take the computation's cores
    work();
  });
}

ExchangeQueue::~ExchangeQueue() {
  if (!thread_.joinable()) return;
  {
    std::unique_lock lock(mutex_);
    ending_ = true;
    changed_.notify_all();
    // When an error unwinds the stack, the ranks that a task waits for may never arrive. If all
    // ranks fail alike they do arrive, and finishing properly leaves no message behind that would
    // arrive in freed memory. So the tasks get a second.
    const bool failing = std::uncaught_exceptions() > exceptions_at_start_;
    const auto idle = [this] { return finished_ == posted_ || failure_; };
    if (failing && !changed_.wait_for(lock, std::chrono::seconds(1), idle)) {
      tasks_.clear();
      for (const auto& communicator : communicators_) communicator->interrupt();
    }
  }
  thread_.join();
}

ExchangeQueue::Ticket ExchangeQueue::post(Task task) {
  if (!thread_.joinable()) {
    counters_.bytes_sent += task();
    finished_ = ++posted_;
    return posted_;
  }
  std::lock_guard lock(mutex_);
  tasks_.push_back(std::move(task));
  changed_.notify_all();
  return ++posted_;
}

void ExchangeQueue::wait(Ticket ticket) {
  if (!thread_.joinable()) return;
  const Clock::time_point start = Clock::now();
  std::unique_lock lock(mutex_);
  EYRIE_CHECK(ticket <= posted_, "a ticket of another queue");
  changed_.wait(lock, [&] { return finished_ >= ticket || failure_; });
  counters_.waited_seconds += seconds_since(start);
  if (failure_) std::rethrow_exception(failure_);
}

void ExchangeQueue::wait_all() {
  Ticket last;
  {
    std::lock_guard lock(mutex_);
    last = posted_;
  }
  wait(last);
}

ExchangeQueue::Counters ExchangeQueue::counters() const {
  std::lock_guard lock(mutex_);
  return counters_;
}

void ExchangeQueue::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return ending_ || !tasks_.empty(); });
    if (tasks_.empty() || failure_) return;
    const Task task = std::move(tasks_.front());
    tasks_.pop_front();
    lock.unlock();
    const Clock::time_point start = Clock::now();
    std::int64_t sent = 0;
    std::exception_ptr failure;
    try {
      sent = task();
    } catch (...) {
      failure = std::current_exception();
    }
    lock.lock();
    counters_.bytes_sent += sent;
    counters_.busy_seconds += seconds_since(start);
    if (failure) {
      failure_ = failure;
    } else {
      ++finished_;
    }
    changed_.notify_all();
  }
}

}  // namespace eyrie::parallel
