// The exchange of gradients and parameters: slices go straight to their owners, in pieces, receives
// posted first.
#include "parallel/exchange.h"

#include <algorithm>
#include <chrono>

#include <fmt/format.h>

#include "base/error.h"

namespace eyrie::parallel {
namespace {

constexpr int kReduceTag = 0;
constexpr int kGatherTag = 1;

using Clock = std::chrono::steady_clock;
using Requests = std::vector<std::unique_ptr<Request>>;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

void wait_for(Requests& requests) {
  for (const auto& request : requests) request->wait();
  requests.clear();
}

void check_cuts(const Communicator& communicator, std::span<const std::int64_t> cuts,
                std::size_t elements) {
  EYRIE_CHECK(static_cast<int>(cuts.size()) == communicator.size() + 1,
              fmt::format("{} cuts for {} ranks", cuts.size(), communicator.size()));
  EYRIE_CHECK(cuts.front() == 0 && std::is_sorted(cuts.begin(), cuts.end()), "cuts ascend from 0");
  EYRIE_CHECK(static_cast<std::size_t>(cuts.back()) == elements,
              fmt::format("cuts end at {}, the buffer at {}", cuts.back(), elements));
}

// A slice in pieces of at most `piece` elements.
struct Slices {
  std::span<const std::int64_t> cuts;
  std::int64_t piece;

  std::int64_t size(int rank) const { return cuts[rank + 1] - cuts[rank]; }
  std::int64_t pieces(int rank) const { return (size(rank) + piece - 1) / piece; }
  std::int64_t begin(int rank, std::int64_t number) const { return cuts[rank] + number * piece; }
  std::int64_t length(int rank, std::int64_t number) const {
    return std::min(piece, size(rank) - number * piece);
  }
  std::int64_t rounds() const {
    std::int64_t most = 0;
    for (int rank = 0; rank + 1 < static_cast<int>(cuts.size()); ++rank)
      most = std::max(most, pieces(rank));
    return most;
  }
};

}  // namespace

std::int64_t reduce_scatter(Communicator& communicator, std::span<float> buffer,
                            std::span<const std::int64_t> cuts, const MicroShardPlan& plan,
                            std::vector<float>& workspace) {
  check_cuts(communicator, cuts, buffer.size());
  const int ranks = communicator.size(), own = communicator.rank();
  EYRIE_CHECK(plan.ranks() == ranks, fmt::format("a plan for {} ranks on {}", plan.ranks(), ranks));
  if (ranks == 1) return 0;
  const Operation operation(communicator, "reduce_scatter", std::ssize(std::as_bytes(buffer)));

  const Slices slices{cuts, kExchangePiece / static_cast<std::int64_t>(sizeof(float))};
  const std::int64_t stride = std::min(slices.piece, slices.size(own));
  workspace.resize(std::max<std::size_t>(workspace.size(), 2 * (ranks - 1) * stride));
  // Two rounds are under way at a time: one being added, the next one travelling.
  auto staging = [&](std::int64_t round, int from) {
    return workspace.data() + ((round % 2) * (ranks - 1) + (from < own ? from : from - 1)) * stride;
  };
  Requests receives[2], sends[2];
  std::int64_t sent = 0;
  auto start = [&](std::int64_t round) {
    if (round < slices.pieces(own)) {
      for (int from = 0; from < ranks; ++from) {
        if (from == own) continue;
        const std::span<float> piece(staging(round, from), slices.length(own, round));
        receives[round % 2].push_back(
            communicator.receive(std::as_writable_bytes(piece), from, kReduceTag));
      }
    }
    // Each rank begins with the one after it, so that no owner is sent to by all at once.
    for (int distance = 1; distance < ranks; ++distance) {
      const int to = (own + distance) % ranks;
      if (round >= slices.pieces(to)) continue;
      const auto piece = buffer.subspan(slices.begin(to, round), slices.length(to, round));
      sends[round % 2].push_back(communicator.send(std::as_bytes(piece), to, kReduceTag));
      sent += static_cast<std::int64_t>(piece.size_bytes());
    }
  };

  const std::int64_t rounds = slices.rounds();
  if (rounds > 0) start(0);
  std::vector<float*> parts(ranks);
  for (std::int64_t round = 0; round < rounds; ++round) {
    if (round + 1 < rounds) start(round + 1);
    wait_for(receives[round % 2]);
    if (round < slices.pieces(own)) {
      const std::int64_t length = slices.length(own, round);
      float* const result = buffer.data() + slices.begin(own, round);
      for (int rank = 0; rank < ranks; ++rank)
        parts[rank] = rank == own ? result : staging(round, rank);
      add_rank_sums(plan, parts, length);
      if (own != 0) std::copy_n(parts[0], length, result);
    }
    wait_for(sends[round % 2]);
  }
  return sent;
}

std::int64_t all_gather(Communicator& communicator, std::span<std::byte> buffer,
                        std::span<const std::int64_t> cuts, std::int64_t element_bytes) {
  EYRIE_CHECK(element_bytes > 0 && buffer.size() % element_bytes == 0, "whole elements");
  check_cuts(communicator, cuts, buffer.size() / element_bytes);
  const int ranks = communicator.size(), own = communicator.rank();
  if (ranks == 1) return 0;
  const Operation operation(communicator, "all_gather of slices", std::ssize(buffer));

  const Slices slices{cuts, kExchangePiece / element_bytes};
  auto piece_of = [&](int rank, std::int64_t round) {
    return buffer.subspan(slices.begin(rank, round) * element_bytes,
                          slices.length(rank, round) * element_bytes);
  };
  Requests pending[2];
  std::int64_t sent = 0;
  auto start = [&](std::int64_t round) {
    for (int from = 0; from < ranks; ++from) {
      if (from == own || round >= slices.pieces(from)) continue;
      pending[round % 2].push_back(communicator.receive(piece_of(from, round), from, kGatherTag));
    }
    if (round >= slices.pieces(own)) return;
    for (int distance = 1; distance < ranks; ++distance) {
      const auto piece = piece_of(own, round);
      pending[round % 2].push_back(communicator.send(piece, (own + distance) % ranks, kGatherTag));
      sent += static_cast<std::int64_t>(piece.size());
    }
  };

  const std::int64_t rounds = slices.rounds();
  if (rounds > 0) start(0);
  for (std::int64_t round = 0; round < rounds; ++round) {
    if (round + 1 < rounds) start(round + 1);
    wait_for(pending[round % 2]);
  }
  return sent;
}

ExchangeQueue::ExchangeQueue(Communicator& communicator)
    : communicator_(communicator.duplicate()),
      exceptions_at_start_(std::uncaught_exceptions()),
      thread_([this, rank = base::rank()] {
        base::set_rank(rank);
        work();
      }) {}

ExchangeQueue::~ExchangeQueue() {
  {
    std::unique_lock lock(mutex_);
    ending_ = true;
    changed_.notify_all();
    // With an error on its way out, the ranks that a task waits for may never come. Where all ranks
    // fail alike they do, and ending in good order leaves no message behind that would arrive in
    // freed memory: so they get a second.
    const bool failing = std::uncaught_exceptions() > exceptions_at_start_;
    const auto idle = [this] { return finished_ == posted_ || failure_; };
    if (failing && !changed_.wait_for(lock, std::chrono::seconds(1), idle)) {
      tasks_.clear();
      communicator_->interrupt();
    }
  }
  thread_.join();
}

ExchangeQueue::Ticket ExchangeQueue::post_reduce_scatter(std::span<float> buffer,
                                                         std::span<const std::int64_t> cuts,
                                                         const MicroShardPlan& plan) {
  return post([this, buffer, cuts = std::vector<std::int64_t>(cuts.begin(), cuts.end()), plan] {
    return reduce_scatter(*communicator_, buffer, cuts, plan, workspace_);
  });
}

ExchangeQueue::Ticket ExchangeQueue::post_all_gather(std::span<float> buffer,
                                                     std::span<const std::int64_t> cuts) {
  return post_all_gather(std::as_writable_bytes(buffer), cuts, sizeof(float));
}

ExchangeQueue::Ticket ExchangeQueue::post_all_gather(std::span<std::byte> buffer,
                                                     std::span<const std::int64_t> cuts,
                                                     std::int64_t element_bytes) {
  return post([this, buffer, cuts = std::vector<std::int64_t>(cuts.begin(), cuts.end()),
               element_bytes] { return all_gather(*communicator_, buffer, cuts, element_bytes); });
}

ExchangeQueue::Ticket ExchangeQueue::post(Task task) {
  std::lock_guard lock(mutex_);
  tasks_.push_back(std::move(task));
  changed_.notify_all();
  return ++posted_;
}

void ExchangeQueue::wait(Ticket ticket) {
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
