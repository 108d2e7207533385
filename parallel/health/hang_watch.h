// Detects ranks that stopped answering (a stopped or hanging process, a dead host) and operations
// that some rank never joined. One thread per process reports what this process is doing to the
// lowest rank that answers; that rank decides (hang_diagnosis.h). PeerMonitor owns it and prints.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "parallel/communication/communicator.h"
#include "parallel/health/hang_diagnosis.h"

namespace eyrie::parallel {

// One rank's part in the watch: whom it reports to, what it has heard, when it decides. Uses no
// threads and no messages; the caller passes the time, which never goes back.
//
// A rank reports to rank 0, which answers with a report of its own. While nobody answers, it
// reports to more of the ranks below it (0, then up to 1, 3, 7, …), each of which answers likewise.
// So the lowest rank that answers hears from all ranks above it and knows that no rank below it
// answers: it alone decides.
class WatchPost {
 public:
  using Time = std::chrono::steady_clock::time_point;

  // `hosts`: of every rank; empty if all share one.
  WatchPost(int rank, int ranks, const Limits& limits, Time now,
            std::vector<std::string> hosts = {});

  void hear(int from, RankReport report, Time now);
  // This process itself was stopped until now: earlier times do not count.
  void resume(Time now);
  Time resumed_at() const { return resumed_at_; }
  // Returns the ranks to report to now. Call it once per period.
  std::vector<int> listeners(Time now);
  // Returns what is wrong, if this rank is the one to report it.
  std::optional<std::string> judge(const RankReport& own, Time now);

 private:
  double silent(int rank, Time now) const;

  const int rank_, ranks_;
  const Limits limits_;
  const std::vector<std::string> hosts_;
  Time resumed_at_;
  std::vector<Time> heard_at_;       // by rank
  std::vector<RankReport> reports_;  // by rank; empty before the first
  std::vector<bool> answer_;  // by rank: ranks above that reported since the last listeners()
  int asked_ = 0;             // the highest rank below that is reported to
  Time asked_at_;             // since when
  std::optional<Time> nobody_since_;  // since when no rank below this one has answered
};

class HangWatch {
 public:
  // Collective. `report` is called by the watch's thread, once in the whole job, on the lowest rank
  // that answers; it should end the job. `limit` is in seconds, above 0.
  HangWatch(Communicator& world, double limit, std::function<void(const std::string&)> report);
  // If finish() was not called: ends the thread without waiting for other ranks.
  ~HangWatch();
  HangWatch(const HangWatch&) = delete;
  HangWatch& operator=(const HangWatch&) = delete;

  // Collective. Call it after the last operation that is to be watched.
  void finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace eyrie::parallel
