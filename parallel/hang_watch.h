// Notices ranks that stopped answering (a stopped or hanging process, a dead host) and operations
// that some rank never joined. One thread a process tells the lowest rank that answers what this
// process is doing; that rank judges (verdict.h). PeerWatch owns it and prints.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "parallel/communicator.h"
#include "parallel/verdict.h"

namespace eyrie::parallel {

// One rank's part in the watch: whom it tells, what it has heard, when it judges. No threads and no
// messages; time is given, and never goes back.
//
// A rank tells rank 0, which answers with a report of its own. While nobody answers it asks more of
// the ranks below it (0, then up to 1, 3, 7, …), each of which answers likewise. So the lowest rank
// that answers hears of all ranks above, and knows that none below it answers: it judges, alone.
class WatchPost {
 public:
  using Time = std::chrono::steady_clock::time_point;

  WatchPost(int rank, int ranks, const Limits& limits, Time now);

  void hear(int from, RankReport report, Time now);
  // This process itself was stopped until now: what was before counts for nothing.
  void resume(Time now);
  Time resumed_at() const { return resumed_at_; }
  // Whom to tell now. Call it once a period.
  std::vector<int> listeners(Time now);
  // What is wrong, where this rank is the one to say so.
  std::optional<std::string> judge(const RankReport& own, Time now);

 private:
  double silent(int rank, Time now) const;

  const int rank_, ranks_;
  const Limits limits_;
  Time resumed_at_;
  std::vector<Time> heard_at_;        // by rank
  std::vector<RankReport> reports_;   // by rank; empty before the first
  std::vector<bool> answer_;          // ranks above that told something since the last time
  int asked_ = 0;                     // the ranks below that are told: up to this one
  Time asked_at_;                     // since when
  std::optional<Time> nobody_since_;  // since when no rank below this one has answered
};

class HangWatch {
 public:
  // Collective. `report` is called by the watch's thread, once in the whole job, on the lowest rank
  // that answers; it should end the job. `limit` in seconds, above 0.
  HangWatch(Communicator& world, double limit, std::function<void(const std::string&)> report);
  // Without finish(): ends the thread, waits for no rank.
  ~HangWatch();
  HangWatch(const HangWatch&) = delete;
  HangWatch& operator=(const HangWatch&) = delete;

  // Collective, after the last thing that is to be watched.
  void finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace eyrie::parallel
