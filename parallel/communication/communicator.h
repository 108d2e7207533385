// Communication between ranks: one interface with four implementations (MPI; threads of one
// process, for tests and for simulating large meshes; a single rank; counting.h, for planning).
// The collectives here are only for control values and bootstrap. Tensors travel by exchange.h and
// collectives.h, which are built on send and receive and fix the order of every sum.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "parallel/communication/job.h"
#include "parallel/communication/progress.h"

namespace eyrie::parallel {

enum class Reduce { kSum, kMax, kMin };
// The operation's name. It includes the reduction, so that the check of calls sees ranks that
// reduce differently.
const char* all_reduce_name(Reduce how, bool integers);
// Combines next[i] into values[i].
template <class Number>
void fold(Reduce how, std::span<const Number> next, std::span<Number> values) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    switch (how) {
      case Reduce::kSum:
        values[i] += next[i];
        break;
      case Reduce::kMax:
        values[i] = std::max(values[i], next[i]);
        break;
      case Reduce::kMin:
        values[i] = std::min(values[i], next[i]);
        break;
    }
  }
}

// A pending send or receive. wait() returns once its buffer may be reused; done() says without
// waiting whether it may. Both throw if the message failed.
class Request {
 public:
  virtual ~Request() = default;
  virtual void wait() = 0;
  virtual bool done() = 0;
};

// A message that has arrived but that no receive was posted for.
struct Arrival {
  int from;
  std::size_t bytes;
};

// Used by one thread at a time unless an implementation says otherwise. Calls are collective where
// marked: every rank makes the same calls in the same order. If a rank fails, the other ranks'
// waits end with an error instead of hanging. Ranks that make different calls get an error that
// names the calls. In-process this is always checked; over MPI it is checked in builds without
// NDEBUG or with EYRIE_CHECK_ORDER=1 (0 turns it off) and costs one more small exchange per call.
class Communicator {
 public:
  virtual ~Communicator() = default;
  // Shared with the communicators that this one was made from and those that are made from it.
  Job& job() const { return *job_; }

  virtual int rank() const = 0;
  virtual int size() const = 0;
  // The rank in the whole job (world rank) of this communicator's `rank`.
  virtual int world_rank(int rank) const = 0;
  // The name used in messages: "world", or the mesh axis ("tensor").
  virtual const std::string& name() const = 0;

  // Point to point. Messages between two ranks with one tag arrive in the order sent. The caller
  // owns the buffers and keeps them alive until wait().
  virtual std::unique_ptr<Request> send(std::span<const std::byte> bytes, int to, int tag) = 0;
  virtual std::unique_ptr<Request> receive(std::span<std::byte> bytes, int from, int tag) = 0;
  // Returns the next message with this tag from any rank that has arrived but was not received.
  // Does not wait.
  virtual std::optional<Arrival> probe(int tag) = 0;

  // Payload bytes of all send() calls of this rank so far. Collectives are not counted, since they
  // carry control values. Duplicates and splits count their own. Any thread.
  std::int64_t bytes_sent() const { return bytes_sent_; }
  // Counts what an implementation sends, and what exchanges on meta would send.
  void count_sent(std::int64_t bytes) { bytes_sent_ += bytes; }

  // Collective. Every rank adds in rank order.
  virtual void barrier() = 0;
  virtual void broadcast(std::span<std::byte> bytes, int root) = 0;
  virtual void all_reduce(std::span<double> values, Reduce how) = 0;
  virtual void all_reduce(std::span<std::int64_t> values, Reduce how) = 0;
  // Returns every rank's bytes (any length) in rank order, on all ranks.
  virtual std::vector<std::string> all_gather(const std::string& bytes) = 0;
  // The same, on `root` only; empty elsewhere.
  virtual std::vector<std::string> gather(const std::string& bytes, int root) = 0;

  // Collective. Gathers values of a plain type, any number per rank: every rank's, in rank order.
  template <class T>
  std::vector<std::vector<T>> all_gather_values(std::span<const T> values);
  // Collective. Returns on every rank whether `holds` is true on any of them.
  bool any(bool holds);

  // Ends the whole job from one rank: prints `message` with the rank as the last line, flushes,
  // gives the launcher time to forward the line, then aborts every rank (MPI) or poisons the
  // communicator so that every rank throws (in-process).
  [[noreturn]] virtual void abort(const std::string& message, int status) = 0;

  // Ends this rank's current and later waits for messages on this communicator with an error. Used
  // to end a thread that waits for ranks that will never arrive. The other ranks are not told. Any
  // thread.
  virtual void interrupt() = 0;

  // Collective. Returns a communicator over the same ranks with its own order of messages.
  virtual std::unique_ptr<Communicator> duplicate() = 0;
  // Collective. Ranks that pass the same `color` form a new communicator, ordered by `key` (equal
  // keys: by rank here).
  virtual std::unique_ptr<Communicator> split(int color, int key, const std::string& name) = 0;

  // For Operation only: the record of this rank's current operation (null: none is kept), and the
  // check that all ranks make the same call.
  virtual Progress* progress() { return nullptr; }
  virtual void check_call(const Call&) {}

 protected:
  explicit Communicator(std::shared_ptr<Job> job = std::make_shared<Job>())
      : job_(std::move(job)) {}
  const std::shared_ptr<Job>& shared_job() const { return job_; }

 private:
  std::shared_ptr<Job> job_;
  std::atomic<std::int64_t> bytes_sent_ = 0;
};

template <class T>
std::vector<std::vector<T>> Communicator::all_gather_values(std::span<const T> values) {
  static_assert(std::is_trivially_copyable_v<T>);
  const std::string bytes(reinterpret_cast<const char*>(values.data()), values.size_bytes());
  std::vector<std::vector<T>> all;
  for (const std::string& rank : all_gather(bytes)) {
    auto& theirs = all.emplace_back(rank.size() / sizeof(T));
    if (!theirs.empty()) std::memcpy(theirs.data(), rank.data(), rank.size());
  }
  return all;
}

inline bool Communicator::any(bool holds) {
  std::int64_t one = holds ? 1 : 0;
  all_reduce(std::span(&one, 1), Reduce::kMax);
  return one != 0;
}

// Collective. Runs work that can fail on one rank alone (files, configuration). If it throws on any
// rank, all ranks throw the error of the lowest failing rank (with its type and the message "rank
// N: message"), so that all ranks take the same path.
void agree(Communicator& communicator, const std::function<void()>& work);

// Returns the job's communicator: MPI when started by mpirun or srun (or any launcher that MPI
// recognises), else a single rank. Call once, from the main thread. MPI is finalised when the
// returned object is destroyed.
std::unique_ptr<Communicator> open_world(int& argc, char**& argv);
std::unique_ptr<Communicator> open_single();

// Runs `body(communicator)` on `ranks` threads of this process, one per rank. After all have ended,
// rethrows the lowest failing rank's exception. A wait for other ranks that takes longer than
// `limit` throws an error that names the operation, who arrived and who did not.
using WaitLimit = std::optional<std::chrono::milliseconds>;
void run_in_process(int ranks, const std::function<void(Communicator&)>& body,
                    WaitLimit limit = {});

}  // namespace eyrie::parallel
