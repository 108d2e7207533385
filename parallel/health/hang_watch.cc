// The thread that watches for hangs, and which ranks report to each other.
#include "parallel/health/hang_watch.h"

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <span>
#include <sstream>
#include <thread>

#include <fmt/format.h>

#include "base/crash.h"
#include "base/error.h"
#include "base/file.h"

namespace eyrie::parallel {
namespace {

constexpr int kTag = 0;

using Clock = std::chrono::steady_clock;

double seconds_between(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

// Of every rank, or empty if there is only one.
std::vector<std::string> several_hosts(Communicator& world) {
  std::vector<std::string> hosts = world.all_gather(base::host_name());
  if (std::all_of(hosts.begin(), hosts.end(), [&](const auto& one) { return one == hosts[0]; }))
    hosts.clear();
  return hosts;
}

// Reports go out about once a second, or several times within a short limit.
double period_of(double limit) { return std::clamp(limit / 12, 0.05, 1.0); }

}  // namespace

WatchPost::WatchPost(int rank, int ranks, const Limits& limits, Time now,
                     std::vector<std::string> hosts)
    : rank_(rank),
      ranks_(ranks),
      limits_(limits),
      hosts_(std::move(hosts)),
      resumed_at_(now),
      heard_at_(ranks, now),
      reports_(ranks),
      answer_(ranks, false),
      asked_at_(now) {}

void WatchPost::hear(int from, RankReport report, Time now) {
  heard_at_[from] = now;
  reports_[from] = std::move(report);
  if (from > rank_) answer_[from] = true;
}

void WatchPost::resume(Time now) {
  resumed_at_ = now;
  asked_at_ = now;
  nobody_since_.reset();
}

double WatchPost::silent(int rank, Time now) const {
  return seconds_between(std::max(heard_at_[rank], resumed_at_), now);
}

std::vector<int> WatchPost::listeners(Time now) {
  if (rank_ > 0) {
    // The lowest rank that answers is enough; while none does, more ranks are asked.
    int answering = 0;
    while (answering <= asked_ && silent(answering, now) > limits_.quiet) ++answering;
    if (answering <= asked_) {
      if (answering < asked_) asked_at_ = now;
      asked_ = answering;
    } else if (asked_ < rank_ - 1 && seconds_between(asked_at_, now) > limits_.quiet) {
      const int more = std::min(rank_ - 1, 2 * asked_ + 1);
      // They were not asked before: count them as silent as long as rank 0, until they report.
      for (int next = asked_ + 1; next <= more; ++next)
        heard_at_[next] = std::max(heard_at_[next], heard_at_[0]);
      asked_ = more;
      asked_at_ = now;
    }
    const bool nobody = answering > asked_ && asked_ == rank_ - 1;
    if (!nobody) nobody_since_.reset();
    if (nobody && !nobody_since_) {
      nobody_since_ = now;
      // The ranks above start to report to this rank only now.
      std::fill(heard_at_.begin() + rank_ + 1, heard_at_.end(), now);
    }
  }
  std::vector<int> all;
  for (int below = 0; below < rank_ && below <= asked_; ++below) all.push_back(below);
  for (int above = rank_ + 1; above < ranks_; ++above) {
    if (answer_[above]) all.push_back(above);
    answer_[above] = false;
  }
  return all;
}

std::optional<std::string> WatchPost::judge(const RankReport& own, Time now) {
  // The ranks below get a while to answer, and the ranks above to find out that they must report to
  // this rank.
  if (rank_ > 0 && (!nobody_since_ || silent(0, now) <= limits_.hang ||
                    seconds_between(*nobody_since_, now) <= 2 * limits_.quiet)) {
    return {};
  }
  std::vector<RankView> views(ranks_);
  for (int other = 0; other < ranks_; ++other) {
    views[other] =
        other == rank_ ? RankView{0, own} : RankView{silent(other, now), reports_[other]};
    if (!hosts_.empty()) views[other].host = hosts_[other];
  }
  return find_hang(views, limits_);
}

struct HangWatch::State {
  struct Message {
    std::string text;
    std::unique_ptr<Request> request;
  };

  State(Communicator& world, double limit, std::function<void(const std::string&)> report)
      : communicator(world.duplicate()),
        rank(world.rank()),
        period(period_of(limit)),
        post(rank, world.size(), {limit, 4 * period}, Clock::now(), several_hosts(world)),
        report(std::move(report)),
        sent(world.size(), 0),
        received(world.size(), 0),
        sending(world.size()) {}

  void work();
  void tick();
  void take_what_came();
  void stop();
  void settle();

  std::unique_ptr<Communicator> communicator;  // used by the thread, after stop() by finish()
  const int rank;
  const double period;  // seconds
  WatchPost post;       // used by the thread, like everything down to the mutex
  std::function<void(const std::string&)> report;
  Clock::time_point last = Clock::now();
  std::vector<std::int64_t> sent, received;  // number of messages, by rank
  std::vector<Message> sending;              // at most one per rank: a stopped rank receives none

  std::mutex mutex;
  std::condition_variable changed;
  bool ending = false;  // guarded by mutex
  std::thread thread;
};

void HangWatch::State::work() {
  std::unique_lock lock(mutex);
  while (!changed.wait_for(lock, std::chrono::duration<double>(period), [&] { return ending; })) {
    lock.unlock();
    try {
      tick();
    } catch (...) {
      // The connection is broken: the rank counts as silent from now on, and is judged by that.
    }
    lock.lock();
  }
}

void HangWatch::State::tick() {
  const Clock::time_point now = Clock::now();
  // If this thread was not woken for long, this process was stopped. Either the others were too (a
  // suspended job), or they have already decided.
  if (seconds_between(last, now) > std::max(2.0, 4 * period)) post.resume(now);
  last = now;
  take_what_came();
  const RankReport own = report_progress(communicator->job(), now, post.resumed_at(), 2 * period);
  const std::vector<int> listeners = post.listeners(now);
  if (const auto hang = post.judge(own, now)) return report(*hang);
  const std::string text = pack(own);
  for (const int to : listeners) {
    if (sending[to].request != nullptr && !sending[to].request->done()) continue;
    sending[to].text = text;
    sending[to].request =
        communicator->send(std::as_bytes(std::span<const char>(sending[to].text)), to, kTag);
    ++sent[to];
  }
}

void HangWatch::State::take_what_came() {
  while (const auto arrival = communicator->probe(kTag)) {
    std::string text(arrival->bytes, '\0');
    communicator->receive(std::as_writable_bytes(std::span<char>(text)), arrival->from, kTag)
        ->wait();
    ++received[arrival->from];
    post.hear(arrival->from, unpack(text), Clock::now());
  }
}

void HangWatch::State::stop() {
  {
    std::lock_guard lock(mutex);
    ending = true;
  }
  changed.notify_all();
  if (thread.joinable()) thread.join();
}

// Every message sent must be received before the communicator is freed, so the ranks tell each
// other how many they sent.
void HangWatch::State::settle() {
  std::string counts;
  for (std::size_t to = 0; to < sent.size(); ++to) {
    if (sent[to] > 0) counts += fmt::format("{} {} ", to, sent[to]);
  }
  const std::vector<std::string> all = communicator->all_gather(counts);
  for (std::size_t from = 0; from < all.size(); ++from) {
    std::istringstream fields(all[from]);
    std::int64_t expected = 0, to = 0, count = 0;
    while (fields >> to >> count) {
      if (to == rank) expected = count;
    }
    while (received[from] < expected) {
      take_what_came();
      std::this_thread::yield();
    }
  }
  for (Message& message : sending) {
    if (message.request != nullptr) message.request->wait();
  }
}

HangWatch::HangWatch(Communicator& world, double limit,
                     std::function<void(const std::string&)> report)
    : state_(std::make_unique<State>(world, limit, std::move(report))) {
  EYRIE_CHECK(world.world_rank(world.rank()) == world.rank(), "a watch is over the whole job");
  state_->thread = std::thread([state = state_.get()] {
    base::set_rank(state->rank);
    base::use_signal_stack();
    state->work();
  });
}

HangWatch::~HangWatch() {
  if (state_ == nullptr) return;
  state_->stop();
  // An error is unwinding the stack. Messages may still be in flight in both directions; neither
  // they nor the communicator can be freed without the other ranks, and the process ends soon.
  (void)state_.release();
}

void HangWatch::finish() {
  state_->stop();
  state_->settle();
  state_.reset();
}

}  // namespace eyrie::parallel
