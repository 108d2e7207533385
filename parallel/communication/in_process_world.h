// State shared by the threads of run_in_process. One mutex guards all of it, because messages are
// few and only a pointer is copied under it. Used by in_process.cc only.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/error.h"
#include "parallel/communication/communicator.h"
#include "parallel/communication/progress.h"

namespace eyrie::parallel {

using Message = std::shared_ptr<const std::vector<std::byte>>;
using Gathered = std::shared_ptr<const std::vector<std::string>>;

// Thrown by a rank because another rank failed; run_in_process reports that rank's error instead.
class Poisoned : public base::Error {
 public:
  using base::Error::Error;
};

// Shared by all communicators of one run_in_process.
struct World {
  World(int ranks, WaitLimit limit) : limit(limit), ended(ranks, false) {}

  // Waits until `ready`, called under the lock, returns true. `stuck` (also under the lock) returns
  // the rank that can no longer do what is waited for, or -1; `late` words the error of a timeout.
  template <class Ready, class Stuck, class Late>
  void wait(std::unique_lock<std::mutex>& lock, const bool& interrupted, Ready ready, Stuck stuck,
            Late late, const char* what) {
    const auto start = std::chrono::steady_clock::now();
    while (!ready()) {
      if (interrupted) throw Poisoned(fmt::format("{}: interrupted", what));
      if (culprit >= 0) throw Poisoned(fmt::format("rank {} has failed: {}", culprit, message));
      if (const int rank = stuck(); rank >= 0) {
        throw Poisoned(fmt::format("{}: rank {} has already returned", what, rank));
      }
      if (!limit) {
        changed.wait(lock);
      } else if (changed.wait_until(lock, start + *limit) == std::cv_status::timeout && !ready()) {
        throw base::Error(late());
      }
    }
  }
  void poison(int rank, const std::string& text) {
    std::lock_guard lock(mutex);
    if (culprit < 0) {
      culprit = rank;
      message = text;
    }
    changed.notify_all();
  }
  void end(int rank) {
    std::lock_guard lock(mutex);
    ended[rank] = true;
    changed.notify_all();
  }

  const WaitLimit limit;
  std::mutex mutex;  // guards everything below and every Group
  std::condition_variable changed;
  int culprit = -1;
  std::string message;
  std::vector<bool> ended;
};

// What the ranks of one communicator share: one order of messages. Guarded by the world's mutex.
struct Group {
  // Messages from one rank to another with one tag; the n-th receive takes the n-th message.
  struct Channel {
    std::int64_t sent = 0;
    std::int64_t expected = 0;
    std::map<std::int64_t, Message> waiting;
  };
  // One collective call: each rank adds its part, and the last one completes it.
  struct Collective {
    std::vector<std::string> parts;
    std::vector<bool> arrived;
    int arrivals = 0;
    int readers = 0;
    Gathered complete;
  };

  std::map<std::tuple<int, int, int>, Channel> channels;  // (from, to, tag)
  std::map<std::int64_t, Collective> collectives;         // by number
  std::map<std::int64_t, std::vector<RankCall>> calls;    // by number, until all ranks have called
  std::vector<std::shared_ptr<const Progress>> progress;  // by rank; null before a rank has joined
  // By number of the duplicate or split, and color.
  std::map<std::pair<std::size_t, int>, std::shared_ptr<Group>> children;
};

// The error when a wait of `own` takes longer than the limit.
std::string late_text(const Group& group, const Progress& own, std::chrono::milliseconds limit);

}  // namespace eyrie::parallel
