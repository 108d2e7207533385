// Ranks as threads of one process: for tests (ThreadSanitizer sees everything) and for simulating
// large meshes. A rank that throws poisons the world, and every other rank's wait then throws an
// error that names it. Waiting for a rank that has already returned throws too, and so does a wait
// beyond the time limit.
#include <algorithm>
#include <array>
#include <cstring>
#include <exception>
#include <mutex>
#include <numeric>
#include <thread>

#include <fmt/format.h>

#include "base/error.h"
#include "parallel/communication/communicator.h"
#include "parallel/communication/in_process_world.h"
#include "parallel/communication/run_guarded.h"
#include "tensor/threads.h"

namespace eyrie::parallel {
namespace {

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
  // `members`: the world ranks of the communicator's ranks.
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
    count_sent(std::ssize(bytes));
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
    std::vector<std::array<int, 2>> mine;  // (key, rank here) of the ranks that join
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
  // Does not wait: each rank compares its call with those of the ranks that called before it.
  void check_call(const Call& call) override {
    std::lock_guard lock(world_.mutex);
    std::vector<RankCall>& calls = group_->calls[call.number];
    calls.push_back({members_[rank_], call.operation, call.number, call.bytes, call.root});
    if (const std::string text = difference(name_, calls); !text.empty()) throw base::Error(text);
    if (static_cast<int>(calls.size()) == size_) group_->calls.erase(call.number);
  }

 private:
  // Returns every rank's bytes, once all have arrived. All other collectives are built on this one.
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
      if (from == 0) {
        std::copy(one.begin(), one.end(), values.begin());
      } else {
        fold(how, std::span<const Number>(one), values);
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
  // Returns what a rank threw, and whether it threw only because another rank had failed.
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
