// Gradients and parameters between data ranks, over point-to-point messages. A buffer of a
// parameter unit is cut into one slice a rank: rank r owns [cuts[r], cuts[r + 1]), ranks + 1
// ascending offsets from 0, empty slices included. reduce_scatter continues the gradient tree
// across ranks, so its sums have the same bits on every number of ranks.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "parallel/communicator.h"
#include "parallel/gradient_tree.h"

namespace eyrie::parallel {

// The largest message, in bytes: a small exchange never waits long behind a large one.
constexpr std::int64_t kExchangePiece = std::int64_t{1} << 20;

// Collective. `buffer` holds this rank's local sum (GradientAccumulator::sum) of cuts.back()
// elements; afterwards this rank's own slice holds the sum over all ranks and the rest is
// unspecified. `plan.ranks()` is the communicator's size. Memory: 2 MB for every other rank, kept
// in `workspace` for the next call. Returns the bytes sent.
std::int64_t reduce_scatter(Communicator& communicator, std::span<float> buffer,
                            std::span<const std::int64_t> cuts, const MicroShardPlan& plan,
                            std::vector<float>& workspace);

// Collective. `buffer` holds cuts.back() elements of `element_bytes` each, of which this rank's own
// slice is filled; afterwards all are. Returns the bytes sent.
std::int64_t all_gather(Communicator& communicator, std::span<std::byte> buffer,
                        std::span<const std::int64_t> cuts, std::int64_t element_bytes);

// One thread that exchanges while the caller computes. Tasks run one after the other in the order
// posted, which must be the same on all ranks. Buffers belong to the caller and must live,
// untouched, until wait() of their ticket: declare the queue after the buffers, so that it goes
// first when an error ends the work.
class ExchangeQueue {
 public:
  using Ticket = std::int64_t;

  // Collective: works on a duplicate of `communicator`, which must outlive the queue.
  explicit ExchangeQueue(Communicator& communicator);
  // Runs what was posted to its end; when an exception is on its way out, gives up after a second.
  ~ExchangeQueue();
  ExchangeQueue(const ExchangeQueue&) = delete;
  ExchangeQueue& operator=(const ExchangeQueue&) = delete;

  Ticket post_reduce_scatter(std::span<float> buffer, std::span<const std::int64_t> cuts,
                             const MicroShardPlan& plan);
  Ticket post_all_gather(std::span<float> buffer, std::span<const std::int64_t> cuts);
  Ticket post_all_gather(std::span<std::byte> buffer, std::span<const std::int64_t> cuts,
                         std::int64_t element_bytes);

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
  using Task = std::function<std::int64_t()>;  // returns the bytes sent

  Ticket post(Task task);
  void work();

  std::unique_ptr<Communicator> communicator_;  // used by thread_ only (but for interrupt)
  std::vector<float> workspace_;                // thread_ only
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
