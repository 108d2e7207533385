// Ranks as threads of one process: for tests (ThreadSanitizer sees everything) and for simulating
// large meshes. One mutex for all: the messages are few and what is copied under it is a pointer. A
// rank that throws poisons the world, and every other rank's wait throws, naming it; so does
// waiting for a rank that has already returned, and a wait beyond the time limit.
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
  World(int ranks, WaitLimit limit) : limit(limit), ended(ranks, false) {}

  // Calls `ready` under the lock until it says yes. `stuck` (under the lock too) returns the rank
  // that can no longer do what is waited for, or -1; `late` says who is there when time is up.
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
    std::vector<std::string> parts;
    std::vector<bool> arrived;
    int arrivals = 0;
    int readers = 0;
    Gathered complete;
  };

  std::map<std::tuple<int, int, int>, Channel> channels;  // (from, to, tag)
  std::map<std::int64_t, Collective> collectives;         // by number
  std::map<std::int64_t, std::vector<RankCall>> calls;    // by number, until all ranks called
  std::vector<std::shared_ptr<const Progress>> progress;  // by rank; null before a rank is there
  // By number of the duplicate or split, and colour.
  std::map<std::pair<std::size_t, int>, std::shared_ptr<Group>> children;
};

// What is said of a wait of `own` for longer than the limit.
std::string late_text(const Group& group, const Progress& own, std::chrono::milliseconds limit) {
  const Progress::State waits = own.state();
  const double seconds = std::chrono::duration<double>(limit).count();
  if (waits.peer >= 0) {
    return fmt::format("{} rank {} on '{}' has not come within {:g} s", waits.operation, waits.peer,
                       own.name(), seconds);
  }
  std::vector<int> arrived, missing;
  for (std::size_t rank = 0; rank < own.members().size(); ++rank) {
    const auto& there = group.progress[rank];
    const bool has = there != nullptr && there->state().number >= waits.number;
    (has ? arrived : missing).push_back(own.members()[rank]);
  }
  std::sort(arrived.begin(), arrived.end());
  std::sort(missing.begin(), missing.end());
  return fmt::format("'{}' {} {} has not ended within {:g} s; arrived: {}; did not arrive: {}",
                     own.name(), waits.operation, waits.number, seconds, rank_list(arrived),
                     rank_list(missing));
}

class Done : public Request {
 public:
  void wait() override {}
  bool done() override { return true; }
};

class Receive : public Request {
 public:
  Receive(World& world, std::shared_ptr<Group> group, std::shared_ptr<Progress> progress,
          std::shared_ptr<const bool> interrupted, std::span<std::byte> bytes, int from, int to,
          int tag)
      : world_(world),
        group_(std::move(group)),
        progress_(std::move(progress)),
        interrupted_(std::move(interrupted)),
        bytes_(bytes),
        from_(from),
        tag_(tag) {
    std::lock_guard lock(world_.mutex);
    channel_ = &group_->channels[{from, to, tag}];
    number_ = channel_->expected++;
  }

  void wait() override {
    if (done_) return;
    const int world_from = progress_->members()[from_];
    const MessageWait waits(*progress_, "a message from", world_from);
    std::unique_lock lock(world_.mutex);
    auto stuck = [&] { return world_.ended[world_from] ? world_from : -1; };
    auto late = [&] { return late_text(*group_, *progress_, *world_.limit); };
    world_.wait(
        lock, *interrupted_, [&] { return arrived(); }, stuck, late, "waiting for a message");
    take(lock);
  }
  bool done() override {
    if (done_) return true;
    std::unique_lock lock(world_.mutex);
    if (arrived()) take(lock);
    return done_;
  }

 private:
  bool arrived() const { return channel_->waiting.count(number_) != 0; }
  void take(std::unique_lock<std::mutex>& lock) {
    const Message message = std::move(channel_->waiting[number_]);
    channel_->waiting.erase(number_);
    lock.unlock();
    if (message->size() != bytes_.size()) {
      throw base::Error(
          fmt::format("a message from rank {} with tag {} has {} bytes, {} were expected", from_,
                      tag_, message->size(), bytes_.size()));
    }
    std::copy(message->begin(), message->end(), bytes_.begin());
    done_ = true;
  }

  World& world_;
  std::shared_ptr<Group> group_;
  std::shared_ptr<Progress> progress_;
  std::shared_ptr<const bool> interrupted_;  // guarded by the world's mutex
  Group::Channel* channel_;
  std::int64_t number_;
  std::span<std::byte> bytes_;
  int from_;
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
        size_(static_cast<int>(members_.size())),
        progress_(std::make_shared<Progress>(name_, "", members_)) {
    std::lock_guard lock(world_.mutex);
    group_->progress.resize(members_.size());
    group_->progress[rank_] = progress_;
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  int world_rank(int rank) const override { return members_[rank]; }
  const std::string& name() const override { return name_; }

  std::unique_ptr<Request> send(std::span<const std::byte> bytes, int to, int tag) override {
    EYRIE_CHECK(to >= 0 && to < size_, fmt::format("a message to rank {} of {}", to, size_));
    auto message = std::make_shared<const std::vector<std::byte>>(bytes.begin(), bytes.end());
    count_sent(bytes);
    std::lock_guard lock(world_.mutex);
    Group::Channel& channel = group_->channels[{rank_, to, tag}];
    channel.waiting[channel.sent++] = std::move(message);
    world_.changed.notify_all();
    return std::make_unique<Done>();
  }
  std::unique_ptr<Request> receive(std::span<std::byte> bytes, int from, int tag) override {
    EYRIE_CHECK(from >= 0 && from < size_,
                fmt::format("a message from rank {} of {}", from, size_));
    return std::make_unique<Receive>(world_, group_, progress_, interrupted_, bytes, from, rank_,
                                     tag);
  }
  std::optional<Arrival> probe(int tag) override {
    std::lock_guard lock(world_.mutex);
    for (int from = 0; from < size_; ++from) {
      const auto channel = group_->channels.find({from, rank_, tag});
      if (channel == group_->channels.end()) continue;
      const auto next = channel->second.waiting.find(channel->second.expected);
      if (next != channel->second.waiting.end()) return Arrival{from, next->second->size()};
    }
    return {};
  }

  void barrier() override {
    const Operation operation(*this, "barrier");
    exchange("");
  }
  void broadcast(std::span<std::byte> bytes, int root) override {
    const Operation operation(*this, "broadcast", std::ssize(bytes), root);
    const std::string own =
        rank_ == root ? std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()) : "";
    const Gathered all = exchange(own);
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
    const Operation operation(*this, "all_gather");
    return *exchange(bytes);
  }
  std::vector<std::string> gather(const std::string& bytes, int root) override {
    const Operation operation(*this, "gather", -1, root);
    const Gathered all = exchange(bytes);
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

  std::unique_ptr<Communicator> duplicate() override {
    const Operation operation(*this, "duplicate");
    return split(0, rank_, name_);
  }
  std::unique_ptr<Communicator> split(int color, int key, const std::string& name) override {
    const Operation operation(*this, "split");
    const Gathered all = exchange(packed(std::span<const int>(std::array{color, key})));
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
    std::shared_ptr<Group> child;
    {
      std::lock_guard lock(world_.mutex);
      auto& shared = group_->children[{splits_++, color}];
      if (!shared) shared = std::make_shared<Group>();
      child = shared;
    }
    return std::make_unique<InProcessCommunicator>(world_, child, rank, std::move(members), name);
  }

  Progress* progress() override { return progress_.get(); }
  // Without waiting: each rank compares with those that were here before it.
  void check_call(const Call& call) override {
    std::lock_guard lock(world_.mutex);
    std::vector<RankCall>& calls = group_->calls[call.number];
    calls.push_back({members_[rank_], call.operation, call.number, call.bytes, call.root});
    if (const std::string text = difference(name_, calls); !text.empty()) throw base::Error(text);
    if (static_cast<int>(calls.size()) == size_) group_->calls.erase(call.number);
  }

 private:
  // Every rank's bytes, once all are there. All other collectives are made of this one.
  Gathered exchange(const std::string& bytes) {
    std::unique_lock lock(world_.mutex);
    const std::int64_t number = collectives_++;
    Group::Collective& call = group_->collectives[number];
    if (call.arrivals == 0) {
      call.parts.resize(size_);
      call.arrived.resize(size_);
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
    auto late = [&] { return late_text(*group_, *progress_, *world_.limit); };
    world_.wait(lock, *interrupted_, complete, stuck, late, progress_->state().operation);
    Gathered result = call.complete;
    if (++call.readers == size_) group_->collectives.erase(number);
    return result;
  }

  template <class Number>
  void reduce(std::span<Number> values, Reduce how) {
    const Operation operation(*this, all_reduce_name(how, std::is_integral_v<Number>),
                              static_cast<std::int64_t>(values.size_bytes()));
    const Gathered all = exchange(packed(std::span<const Number>(values)));
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
  std::shared_ptr<Progress> progress_;
  std::int64_t collectives_ = 0;
  std::size_t splits_ = 0;
};

}  // namespace

void run_in_process(int ranks, const std::function<void(Communicator&)>& body, WaitLimit limit) {
  EYRIE_CHECK(ranks > 0, fmt::format("{} ranks", ranks));
  World world(ranks, limit);
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
