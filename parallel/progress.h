// What this process is doing in each of its communicators: which operation, the how-manieth, since
// when. The watch against hangs (hang_watch.h) reads it from its own thread; the order check reads
// what a call is. Entering and leaving cost two short locks and allocate nothing.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace eyrie::parallel {

class Communicator;

// One call of an operation: what all ranks of a communicator must do alike.
struct Call {
  const char* operation;    // text that lives for ever
  std::int64_t number;      // counts the operations of the communicator, from 1
  std::int64_t bytes = -1;  // -1 where ranks may differ
  int root = -1;            // -1 where there is none
};

// One rank's place in one communicator. Entered by the thread that uses the communicator, read by
// any.
class Progress {
 public:
  using Clock = std::chrono::steady_clock;

  struct State {
    const char* operation = "";  // the present one, else the last
    std::int64_t number = 0;     // of the newest operation; 0: none yet
    int peer = -1;               // the world rank that a single message is waited for from
    bool inside = false;
    Clock::time_point since{};
  };

  // `identity` is the same on all ranks and no other communicator's; `members` are the world ranks.
  Progress(std::string name, std::string identity, std::vector<int> members);
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  const std::string& name() const { return name_; }
  const std::string& identity() const { return identity_; }
  const std::vector<int>& members() const { return members_; }
  State state() const;

  // Returns the number of the operation that begins, or 0 where one is under way already: that one
  // goes on.
  std::int64_t enter(const char* operation);
  // A single message, outside of any operation: has no number, because ranks may send one another
  // any number of them.
  void enter_message(const char* what, int peer);
  void leave();

 private:
  const std::string name_, identity_;
  const std::vector<int> members_;
  mutable std::mutex mutex_;  // guards all below
  State state_;
  int depth_ = 0;
};

// While it lives, the communicator is inside of `operation`, a text that lives for ever. Collective
// in name: where the order of calls is checked, all ranks compare what they call, with `bytes` (-1:
// ranks may differ) and `root` (-1: none), and throw on every rank when they differ. Inside of
// another operation of the same communicator it does nothing. For exchanges made of single
// messages; the communicator's own operations enter by themselves.
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

// The same for the wait for one message.
class MessageWait {
 public:
  MessageWait(Progress& progress, const char* what, int peer);
  ~MessageWait();
  MessageWait(const MessageWait&) = delete;
  MessageWait& operator=(const MessageWait&) = delete;

 private:
  Progress& progress_;
};

// The process's board: what the watch reports. Any thread. An entry leaves with its last owner.
void put_on_board(const std::shared_ptr<const Progress>& progress);
std::vector<std::shared_ptr<const Progress>> board();

// "rank 3", "ranks 0, 2-5"; "none" of nothing. Ascending.
std::string rank_list(const std::vector<int>& ranks);

// What each rank of `name` called, by rank; empty when all called the same.
struct RankCall {
  int rank;  // in the world
  std::string operation;
  std::int64_t number, bytes;
  int root;
};
std::string difference(const std::string& name, const std::vector<RankCall>& calls);

}  // namespace eyrie::parallel
