// Ranks as threads of one process: for tests (ThreadSanitizer sees everything) and for simulating
// large meshes. One mutex for all: the messages are few and what is copied under it is a pointer. A
// rank that throws poisons the world, and every other rank's wait throws, naming it; so does
// waiting for a rank that has already returned.
#include <algorithm>
#include <array>
#include <condition_variable>
#include <cstring>
#include <exception>
#include <map>
#include <mutex>
#include <numeric>
#include <thread>

#include <fmt/format.h>

#include "base/error.h"
#include "parallel/communicator.h"
#include "parallel/guard.h"
#include "tensor/threads.h"

namespace eyrie::parallel {
namespace {

using Message = std::shared_ptr<const std::vector<std::byte>>;
using Gathered = std::shared_ptr<const std::vector<std::string>>;

// What a rank throws because another one failed; run_in_process reports the other one's error
// instead.
class Poisoned : public base::Error {
 public:
  using base::Error::Error;
};

// Shared by all communicators of one run_in_process.
struct World {
  explicit World(int ranks) : ended(ranks, false) {}

  // Calls `ready` under the lock until it says yes. `stuck` (under the lock too) returns the rank
  // that can no longer do what is waited for, or -1.
  template <class Ready, class Stuck>
  void wait(std::unique_lock<std::mutex>& lock, const bool& interrupted, Ready ready, Stuck stuck,
            const std::string& what) {
    while (!ready()) {
      if (interrupted) throw Poisoned(what + ": interrupted");
      if (culprit >= 0) throw Poisoned(fmt::format("rank {} has failed: {}", culprit, message));
      if (const int rank = stuck(); rank >= 0) {
        throw Poisoned(fmt::format("{}: rank {} has already returned", what, rank));
      }
      changed.wait(lock);
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

  std::mutex mutex;  // guards everything below and every Group
  std::condition_variable changed;
  int culprit = -1;
  std::string message;
  std::vector<bool> ended;
};

// One order of messages: what a communicator's ranks share. Guarded by the world's mutex.
struct Group {
  // From one rank to another with one tag; the n-th receive takes the n-th message.
  struct Channel {
    std::int64_t sent = 0;
    std::int64_t expected = 0;
    std::map<std::int64_t, Message> waiting;
  };
  // One collective call: each rank adds its part, the last one completes it.
  struct Collective {
    std::string name;
    std::vector<std::string> parts;
    std::vector<bool> arrived;
    int arrivals = 0;
    int readers = 0;
    Gathered complete;
  };

  std::map<std::tuple<int, int, int>, Channel> channels;  // (from, to, tag)
  std::map<std::int64_t, Collective> collectives;         // by number
  // By number of the duplicate or split, and colour.
  std::map<std::pair<std::size_t, int>, std::shared_ptr<Group>> children;
};

class Done : public Request {
 public:
  void wait() override {}
};

class Receive : public Request {
 public:
  Receive(World& world, std::shared_ptr<Group> group, std::shared_ptr<const bool> interrupted,
          std::span<std::byte> bytes, int from, int world_from, int to, int tag)
      : world_(world),
        group_(std::move(group)),
        interrupted_(std::move(interrupted)),
        bytes_(bytes),
        from_(from),
        world_from_(world_from),
        tag_(tag) {
    std::lock_guard lock(world_.mutex);
    channel_ = &group_->channels[{from, to, tag}];
    number_ = channel_->expected++;
  }

  void wait() override {
    if (done_) return;
    Message message;
    {
      std::unique_lock lock(world_.mutex);
      auto arrived = [&] { return channel_->waiting.count(number_) != 0; };
      auto stuck = [&] { return world_.ended[world_from_] ? world_from_ : -1; };
      world_.wait(lock, *interrupted_, arrived, stuck,
                  fmt::format("waiting for a message with tag {}", tag_));
      message = channel_->waiting[number_];
      channel_->waiting.erase(number_);
    }
    if (message->size() != bytes_.size()) {
      throw base::Error(
          fmt::format("a message from rank {} with tag {} has {} bytes, {} were expected", from_,
                      tag_, message->size(), bytes_.size()));
    }
    std::copy(message->begin(), message->end(), bytes_.begin());
    done_ = true;
  }

 private:
  World& world_;
  std::shared_ptr<Group> group_;
  std::shared_ptr<const bool> interrupted_;  // guarded by the world's mutex
  Group::Channel* channel_;
  std::int64_t number_;
  std::span<std::byte> bytes_;
  int from_;
  int world_from_;  // its number in the world
  int tag_;
  bool done_ = false;
};

template <class Number>
std::string packed(std::span<const Number> values) {
  return std::string(reinterpret_cast<const char*>(values.data()), values.size_bytes());
}

class InProcessCommunicator : public Communicator {
 public:
  // `members`: the ranks' numbers in the world.
  InProcessCommunicator(World& world, std::shared_ptr<Group> group, int rank,
                        std::vector<int> members, std::string name)
      : world_(world),
        group_(std::move(group)),
        members_(std::move(members)),
        name_(std::move(name)),
        rank_(rank),
        size_(static_cast<int>(members_.size())) {}

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  int world_rank(int rank) const override { return members_[rank]; }
  const std::string& name() const override { return name_; }

  std::unique_ptr<Request> send(std::span<const std::byte> bytes, int to, int tag) override {
    EYRIE_CHECK(to >= 0 && to < size_, fmt::format("a message to rank {} of {}", to, size_));
    auto message = std::make_shared<const std::vector<std::byte>>(bytes.begin(), bytes.end());
    std::lock_guard lock(world_.mutex);
    Group::Channel& channel = group_->channels[{rank_, to, tag}];
    channel.waiting[channel.sent++] = std::move(message);
    world_.changed.notify_all();
    return std::make_unique<Done>();
  }
  std::unique_ptr<Request> receive(std::span<std::byte> bytes, int from, int tag) override {
    EYRIE_CHECK(from >= 0 && from < size_,
                fmt::format("a message from rank {} of {}", from, size_));
    return std::make_unique<Receive>(world_, group_, interrupted_, bytes, from, members_[from],
                                     rank_, tag);
  }

  void barrier() override { exchange("barrier", ""); }
  void broadcast(std::span<std::byte> bytes, int root) override {
    const std::string own =
        rank_ == root ? std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()) : "";
    const Gathered all = exchange(fmt::format("broadcast from rank {}", root), own);
    const std::string& sent = (*all)[root];
    if (sent.size() != bytes.size()) {
      throw base::Error(fmt::format("a broadcast from rank {} has {} bytes, {} were expected", root,
                                    sent.size(), bytes.size()));
    }
    if (!sent.empty()) std::memcpy(bytes.data(), sent.data(), sent.size());
  }
  void all_reduce(std::span<double> values, Reduce how) override { reduce(values, how); }
  void all_reduce(std::span<std::int64_t> values, Reduce how) override { reduce(values, how); }
  std::vector<std::string> all_gather(const std::string& bytes) override {
    return *exchange("all_gather", bytes);
  }
  std::vector<std::string> gather(const std::string& bytes, int root) override {
    const Gathered all = exchange(fmt::format("gather to rank {}", root), bytes);
    return rank_ == root ? *all : std::vector<std::string>();
  }

  void abort(const std::string& message, int) override {
    print_last_line(members_[rank_], message);
    world_.poison(members_[rank_], message);
    throw base::Error(message);
  }

  void interrupt() override {
    std::lock_guard lock(world_.mutex);
    *interrupted_ = true;
    world_.changed.notify_all();
  }

  std::unique_ptr<Communicator> duplicate() override { return split(0, rank_, name_); }
  std::unique_ptr<Communicator> split(int color, int key, const std::string& name) override {
    const Gathered all = exchange("split", packed(std::span<const int>(std::array{color, key})));
    std::vector<std::array<int, 2>> mine;  // key and rank here of those that join
    for (int other = 0; other < size_; ++other) {
      std::array<int, 2> theirs;
      std::memcpy(theirs.data(), (*all)[other].data(), sizeof(theirs));
      if (theirs[0] == color) mine.push_back({theirs[1], other});
    }
    std::sort(mine.begin(), mine.end());
    std::vector<int> members;
    int rank = 0;
    for (const auto& [their_key, other] : mine) {
      if (other == rank_) rank = static_cast<int>(members.size());
      members.push_back(members_[other]);
    }
    std::lock_guard lock(world_.mutex);
    auto& child = group_->children[{splits_++, color}];
    if (!child) child = std::make_shared<Group>();
    return std::make_unique<InProcessCommunicator>(world_, child, rank, std::move(members), name);
  }

 private:
  // Every rank's bytes, once all are there. All other collectives are made of this one.
  Gathered exchange(const std::string& name, const std::string& bytes) {
    std::unique_lock lock(world_.mutex);
    const std::int64_t number = collectives_++;
    Group::Collective& call = group_->collectives[number];
    if (call.arrivals == 0) {
      call.name = name;
      call.parts.resize(size_);
      call.arrived.resize(size_);
    } else if (call.name != name) {
      throw base::Error(fmt::format("collective call {} is {} on this rank and {} on another",
                                    number, name, call.name));
    }
    call.parts[rank_] = bytes;
    call.arrived[rank_] = true;
    if (++call.arrivals == size_) {
      call.complete = std::make_shared<const std::vector<std::string>>(std::move(call.parts));
      world_.changed.notify_all();
    }
    auto complete = [&] { return call.complete != nullptr; };
    auto stuck = [&] {
      for (int other = 0; other < size_; ++other) {
        if (!call.arrived[other] && world_.ended[members_[other]]) return members_[other];
      }
      return -1;
    };
    world_.wait(lock, *interrupted_, complete, stuck, name);
    Gathered result = call.complete;
    if (++call.readers == size_) group_->collectives.erase(number);
    return result;
  }

  template <class Number>
  void reduce(std::span<Number> values, Reduce how) {
    const Gathered all = exchange("all_reduce", packed(std::span<const Number>(values)));
    std::vector<Number> one(values.size());
    for (int from = 0; from < size_; ++from) {
      if ((*all)[from].size() != values.size_bytes()) {
        throw base::Error(fmt::format("all_reduce of {} values here and of {} bytes on rank {}",
                                      values.size(), (*all)[from].size(), from));
      }
      if (values.empty()) continue;
      std::memcpy(one.data(), (*all)[from].data(), values.size_bytes());
      for (std::size_t i = 0; i < values.size(); ++i) {
        if (from == 0)
          values[i] = one[i];
        else if (how == Reduce::kSum)
          values[i] += one[i];
        else if (how == Reduce::kMax)
          values[i] = std::max(values[i], one[i]);
        else
          values[i] = std::min(values[i], one[i]);
      }
    }
  }

  World& world_;
  std::shared_ptr<Group> group_;
  std::shared_ptr<bool> interrupted_ = std::make_shared<bool>(false);  // guarded by the mutex
  std::vector<int> members_;
  std::string name_;
  int rank_;
  int size_;
  std::int64_t collectives_ = 0;
  std::size_t splits_ = 0;
};

}  // namespace

void run_in_process(int ranks, const std::function<void(Communicator&)>& body) {
  EYRIE_CHECK(ranks > 0, fmt::format("{} ranks", ranks));
  World world(ranks);
  const auto group = std::make_shared<Group>();
  // What a rank threw, and whether only because another one had failed.
  auto run_rank = [&](int rank) {
    if (ranks > 1) base::set_rank(rank);
    tensor::set_thread_count(1);
    std::string message = "an exception that is no std::exception";
    try {
      std::vector<int> everyone(ranks);
      std::iota(everyone.begin(), everyone.end(), 0);
      InProcessCommunicator communicator(world, group, rank, everyone, "world");
      body(communicator);
      world.end(rank);
      return std::make_pair(std::exception_ptr(), false);
    } catch (const Poisoned& error) {
      world.poison(rank, error.what());
      return std::make_pair(std::current_exception(), true);
    } catch (const std::exception& error) {
      message = error.what();
      world.poison(rank, message);
      return std::make_pair(std::current_exception(), false);
    } catch (...) {
      world.poison(rank, message);
      return std::make_pair(std::current_exception(), false);
    }
  };
  std::vector<std::pair<std::exception_ptr, bool>> outcomes(ranks);
  {
    std::vector<std::thread> threads;
    for (int rank = 0; rank < ranks; ++rank) {
      threads.emplace_back([&, rank] { outcomes[rank] = run_rank(rank); });
    }
    for (std::thread& thread : threads) thread.join();
  }
  for (const bool echo : {false, true}) {
    for (const auto& [failure, echoed] : outcomes) {
      if (failure && echoed == echo) std::rethrow_exception(failure);
    }
  }
}

}  // namespace eyrie::parallel
