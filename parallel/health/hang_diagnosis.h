// Turns every rank's last report into the message that describes a hang: which operation, which
// number, who arrived, who did not and what those ranks are doing. Uses no threads, messages or
// clock.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "parallel/communication/job.h"
#include "parallel/communication/progress.h"

namespace eyrie::parallel {

// A rank's place in one communicator, as it is sent to other ranks.
struct OperationReport {
  std::string identity;  // of the communicator; see Progress
  std::string name;
  std::string operation;  // the current one, else the last
  std::int64_t number = 0;
  int peer = -1;  // of a single message, see Progress
  bool inside = false;
  double seconds = 0;        // spent inside it so far
  std::vector<int> members;  // only if it has waited for a while
  double limit_factor = 1;   // factor on the time limit
};
using RankReport = std::vector<OperationReport>;

// Reports what this process is doing in every communicator of the job. Waiting times are counted
// from `since` at the earliest. `members` are included for operations that have lasted `a_while`
// seconds.
RankReport report_progress(const Job& job, Progress::Clock::time_point now,
                           Progress::Clock::time_point since, double a_while);
std::string pack(const RankReport& report);
RankReport unpack(const std::string& text);

// What is known about one rank.
struct RankView {
  double silent = 0;      // seconds since its last report
  RankReport report;      // its last report
  std::string host = {};  // where it runs; "" if all ranks share one
};
struct Limits {
  double hang = 0;   // seconds in one operation, or without a report, that end the job
  double quiet = 0;  // seconds without a report after which a rank counts as not answering
};

// `ranks` is indexed by world rank. Returns nothing while every answering rank has been in its
// operations for less than the limit and no rank has been silent for longer. If several operations
// wait, it names the one that causes the other waits: first one that lacks a rank that does not
// answer, then one that lacks a rank that is in no operation, then the earliest of a communicator
// and the longest.
std::optional<std::string> find_hang(const std::vector<RankView>& ranks, const Limits& limits);

}  // namespace eyrie::parallel
