// Ranks that talk to each other: one interface, three implementations behind it (MPI; threads of
// one process, for tests and for simulating large meshes; a single rank). Everything that is not
// point to point is for control values and bootstrap; gradients and parameters go by the fixed
// trees of exchange.h, over send and receive.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "parallel/progress.h"

namespace eyrie::parallel {

enum class Reduce { kSum, kMax, kMin };
// What the operation is called: ranks that reduce differently differ in what they call.
const char* all_reduce_name(Reduce how, bool integers);
// values[i] = values[i] combined with next[i].
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

// A pending send or receive. wait() returns when its buffer may be used again, done() says without
// waiting whether it may; both throw what went wrong.
class Request {
 public:
  virtual ~Request() = default;
  virtual void wait() = 0;
  virtual bool done() = 0;
};

// A message that has come and that nothing was posted for.
struct Arrival {
  int from;
  std::size_t bytes;
};

// Used by one thread at a time unless an implementation says otherwise. Calls are collective where
// named so: every rank makes the same calls in the same order. A rank that fails ends the others'
// waits with an error, never a hang. Ranks that make different calls are told so by an error that
// names them: always in-process; over MPI in builds without NDEBUG and where EYRIE_CHECK_ORDER=1 is
// set (0 turns it off), for one more small exchange a call.
class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  // The number that a rank of this communicator has in the whole job.
  virtual int world_rank(int rank) const = 0;
  // What messages call it: "world", or the axis of the mesh that it is ("tensor").
  virtual const std::string& name() const = 0;

  // Point to point. Messages between two ranks with one tag arrive in the order sent. Buffers
  // belong to the caller and must live until wait().
  virtual std::unique_ptr<Request> send(std::span<const std::byte> bytes, int to, int tag) = 0;
  virtual std::unique_ptr<Request> receive(std::span<std::byte> bytes, int from, int tag) = 0;
  // The next message with this tag from anybody, still to be received; without waiting.
  virtual std::optional<Arrival> probe(int tag) = 0;

  // Payload of all send() calls of this rank so far. Collectives, which carry control values, do
  // not count; nor do duplicates and splits, which count for themselves. Any thread.
  std::int64_t bytes_sent() const { return bytes_sent_; }

  // Collective. Sums are made in rank order on every rank alike.
  virtual void barrier() = 0;
  virtual void broadcast(std::span<std::byte> bytes, int root) = 0;
  virtual void all_reduce(std::span<double> values, Reduce how) = 0;
  virtual void all_reduce(std::span<std::int64_t> values, Reduce how) = 0;
  // Every rank's bytes (any length), in rank order: on all ranks.
  virtual std::vector<std::string> all_gather(const std::string& bytes) = 0;
  // The same, on `root` only; empty elsewhere.
  virtual std::vector<std::string> gather(const std::string& bytes, int root) = 0;

  // Ends the whole job from one rank: prints `message` with the rank as a last line, flushes, waits
  // for the line to travel, then aborts every rank (MPI) or poisons the communicator so that every
  // rank throws (in-process).
  [[noreturn]] virtual void abort(const std::string& message, int status) = 0;

  // From any thread: ends this rank's present and later waits for messages on this communicator
  // with an error. Used to end a thread that waits for ranks which will not come. The other ranks
  // are not told.
  virtual void interrupt() = 0;

  // A collective copy with its own order of messages.
  virtual std::unique_ptr<Communicator> duplicate() = 0;
  // Collective: the ranks that give one `color` form a communicator of their own, in the order of
  // `key` (equal keys: in the order here).
  virtual std::unique_ptr<Communicator> split(int color, int key, const std::string& name) = 0;

  // For Operation only: where this rank's doings are noted (null: nowhere), and the comparison of
  // what begins with the other ranks.
  virtual Progress* progress() { return nullptr; }
  virtual void check_call(const Call&) {}

 protected:
  void count_sent(std::span<const std::byte> bytes) { bytes_sent_ += std::ssize(bytes); }

 private:
  std::atomic<std::int64_t> bytes_sent_ = 0;
};

// Collective. Work that can fail on one rank alone (files, configuration) runs inside: when it
// throws on any rank, all ranks throw the lowest failing rank's error (its type and "rank N:
// message"), so that all go the same way.
void agree(Communicator& communicator, const std::function<void()>& work);

// The job's communicator: MPI when started by mpirun or srun (or any launcher that MPI recognises),
// else single. Call once, from the main thread. MPI is finalised when the returned object goes.
std::unique_ptr<Communicator> open_world(int& argc, char**& argv);
std::unique_ptr<Communicator> open_single();

// Runs `body(communicator)` on `ranks` threads of this process, one rank each; rethrows the lowest
// failing rank's exception after all have ended. A wait for other ranks that takes longer than
// `limit` throws, naming the operation, who arrived and who did not.
using WaitLimit = std::optional<std::chrono::milliseconds>;
void run_in_process(int ranks, const std::function<void(Communicator&)>& body,
                    WaitLimit limit = {});

}  // namespace eyrie::parallel
