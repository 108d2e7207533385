// From what each rank last said of itself to the line that names a hang: which operation, which
// number, who arrived, who did not and what those are doing. No threads, no messages, no clock.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "parallel/progress.h"

namespace eyrie::parallel {

// A rank's place in one communicator, as it travels.
struct OperationReport {
  std::string identity;  // of the communicator; see Progress
  std::string name;
  std::string operation;  // the present one, else the last
  std::int64_t number = 0;
  int peer = -1;  // of a single message
  bool inside = false;
  double seconds = 0;        // inside of it
  std::vector<int> members;  // only where it has waited for a while
  double patience = 1;       // how many times the limit it may last
};
using RankReport = std::vector<OperationReport>;

// This process's board. What lasts since before `since` is counted from there; `members` are told
// of operations that have lasted `a_while` seconds.
RankReport report_board(Progress::Clock::time_point now, Progress::Clock::time_point since,
                        double a_while);
std::string pack(const RankReport& report);
RankReport unpack(const std::string& text);

// What is known of a rank.
struct RankView {
  double silent = 0;  // seconds since its last report
  RankReport report;  // the last
};
struct Limits {
  double hang = 0;   // seconds in one operation, or of silence, that end the job
  double quiet = 0;  // seconds without a report after which a rank counts as not answering
};

// `ranks` by rank in the world. Nothing while every answering rank has been in its operations for
// less than the limit and none has been silent for longer. Of several operations that wait, the one
// that the others wait for in the end: first one that lacks a rank which does not answer, then one
// that lacks a rank which is in no operation, then the earliest of a communicator and the longest.
std::optional<std::string> find_hang(const std::vector<RankView>& ranks, const Limits& limits);

}  // namespace eyrie::parallel
