// What this process is doing in each of its communicators: which operation, its number, since when.
// The watch against hangs (hang_watch.h) reads it from its own thread, and the check that ranks
// make the same calls uses it. Entering and leaving take two short locks and allocate nothing.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace eyrie::parallel {

class Communicator;

// One call of an operation: what must be the same on all ranks of a communicator.
struct Call {
  const char* operation;    // text with static lifetime
  std::int64_t number;      // counts the operations of the communicator, from 1
  std::int64_t bytes = -1;  // -1 where ranks may differ
  int root = -1;            // -1: none
};

// One rank's place in one communicator. Written by the thread that uses the communicator, read by
// any thread.
class Progress {
 public:
  using Clock = std::chrono::steady_clock;

  struct State {
    const char* operation = "";  // the current one, else the last
    std::int64_t number = 0;     // of the latest operation; 0: none yet
    int peer = -1;               // world rank that a single message is waited for from
    bool inside = false;
    Clock::time_point since{};
  };

  // `identity` is the same on all ranks and unique to the communicator; `members` are world ranks.
  Progress(std::string name, std::string identity, std::vector<int> members);
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  const std::string& name() const { return name_; }
  const std::string& identity() const { return identity_; }
  const std::vector<int>& members() const { return members_; }
  State state() const;

  // Returns the number of the operation that starts, or 0 if it is nested in another one, which
  // stays the current one.
  std::int64_t enter(const char* operation);
  // A single message outside any operation. It has no number, because ranks may send each other any
  // number of messages.
  void enter_message(const char* what, int peer);
  void leave();

 private:
  const std::string name_, identity_;
  const std::vector<int> members_;
  mutable std::mutex mutex_;  // guards all below
  State state_;
  int depth_ = 0;
};

// While it lives, the communicator is inside `operation` (a text with static lifetime). Formally
// collective: where the order of calls is checked, all ranks compare operation, `bytes` (-1: ranks
// may differ) and `root` (-1: none), and all throw if they differ. Nested in another operation of
// the same communicator it does nothing. For exchanges built from single messages; the
// communicator's own operations do this themselves.
class Operation {
 public:
  Operation(Communicator& communicator, const char* operation, std::int64_t bytes = -1,
            int root = -1);
  ~Operation();
  Operation(const Operation&) = delete;
  Operation& operator=(const Operation&) = delete;

 private:
  Progress* progress_;  // null: nothing to leave
};

// The same for a wait for one message.
class MessageWait {
 public:
  MessageWait(Progress& progress, const char* what, int peer);
  ~MessageWait();
  MessageWait(const MessageWait&) = delete;
  MessageWait& operator=(const MessageWait&) = delete;

 private:
  Progress& progress_;
};

// "rank 3", "ranks 0, 2-5", or "none" for an empty list. `ranks` is ascending.
std::string rank_list(const std::vector<int>& ranks);

// Describes what each rank of communicator `name` called; empty if all called the same.
struct RankCall {
  int rank;  // world rank
  std::string operation;
  std::int64_t number, bytes;
  int root;
};
std::string difference(const std::string& name, const std::vector<RankCall>& calls);

}  // namespace eyrie::parallel
