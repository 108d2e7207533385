// Finds the operation that causes a hang among those the ranks are in, and words the message.
#include "parallel/health/hang_diagnosis.h"

#include <algorithm>
#include <map>
#include <sstream>

#include <fmt/format.h>

#include "parallel/health/slow_work.h"

namespace eyrie::parallel {
namespace {

const OperationReport* find(const RankReport& report, const std::string& identity) {
  const auto found = std::find_if(report.begin(), report.end(),
                                  [&](const auto& one) { return one.identity == identity; });
  return found == report.end() ? nullptr : &*found;
}

// The operation that a rank has been in for the longest time, or null.
const OperationReport* present(const RankReport& report) {
  const OperationReport* longest = nullptr;
  for (const OperationReport& one : report) {
    if (one.inside && (longest == nullptr || one.seconds > longest->seconds)) longest = &one;
  }
  return longest;
}

std::string title(const OperationReport& one) {
  if (one.peer >= 0) return fmt::format("{} rank {} on '{}'", one.operation, one.peer, one.name);
  return fmt::format("'{}' {} {}", one.name, one.operation, one.number);
}

std::string on_host(const RankView& view) {
  return view.host.empty() ? "" : fmt::format("on {}, ", view.host);
}

std::string silence(const RankView& view) {
  return fmt::format("{}has not answered for {:.0f} s", on_host(view), view.silent);
}

// What a rank that did not arrive is doing instead.
std::string doing(const RankView& view, double quiet) {
  if (view.silent > quiet) return silence(view);
  if (const OperationReport* other = present(view.report))
    return fmt::format("waits in {}", title(*other));
  return on_host(view) +
         "answers, but is busy outside of any operation; if its work may take that "
         "long, raise the limit";
}

// Groups ranks by the text about them, in the order of each group's lowest rank.
class Groups {
 public:
  void add(int rank, const std::string& text) {
    for (auto& [said, ranks] : groups_) {
      if (said == text) return ranks.push_back(rank);
    }
    groups_.push_back({text, {rank}});
  }
  bool empty() const { return groups_.empty(); }
  std::string text() const {
    std::string all;
    for (const auto& [said, ranks] : groups_) {
      if (!all.empty()) all += ", ";
      all += rank_list(ranks);
      if (!said.empty()) all += fmt::format(" ({})", said);
    }
    return all.empty() ? "none" : all;
  }

 private:
  std::vector<std::pair<std::string, std::vector<int>>> groups_;
};

// An operation that some rank is in, and how urgent it is.
struct Candidate {
  const OperationReport* operation;
  int rank;           // the rank that has waited longest
  int urgency = 0;    // 2: lacks a rank that does not answer; 1: lacks one that is in no operation
  bool over = false;  // over the limit, or one of its ranks is silent for longer than that
};

bool has_arrived(const RankView& view, const OperationReport& operation) {
  const OperationReport* there = find(view.report, operation.identity);
  return there != nullptr && there->number >= operation.number;
}

Candidate weigh(const OperationReport& operation, int rank, const std::vector<RankView>& ranks,
                const Limits& limits) {
  Candidate candidate{&operation, rank};
  candidate.over = operation.seconds > limits.hang * operation.limit_factor;
  const std::vector<int> peer = {operation.peer};
  for (const int member : operation.peer >= 0 ? peer : operation.members) {
    const RankView& view = ranks[static_cast<std::size_t>(member)];
    if (view.silent > limits.quiet) {
      candidate.urgency = 2;
      candidate.over = candidate.over || view.silent > limits.hang;
    } else if (present(view.report) == nullptr &&
               (operation.peer >= 0 || !has_arrived(view, operation))) {
      candidate.urgency = std::max(candidate.urgency, 1);
    }
  }
  return candidate;
}

// Whether `one` is more likely than `other` to be what the job waits for.
bool comes_before(const Candidate& one, const Candidate& other) {
  if (one.urgency != other.urgency) return one.urgency > other.urgency;
  const OperationReport &a = *one.operation, &b = *other.operation;
  if (a.identity == b.identity && a.number != b.number) return a.number < b.number;
  return a.seconds > b.seconds;
}

std::string describe(const Candidate& candidate, const std::vector<RankView>& ranks,
                     const Limits& limits) {
  const OperationReport& operation = *candidate.operation;
  if (operation.peer >= 0) {
    const RankView& peer = ranks[static_cast<std::size_t>(operation.peer)];
    return fmt::format("has waited {:.0f} s for {}; rank {}{}{}", operation.seconds,
                       title(operation), operation.peer, peer.host.empty() ? " " : ", ",
                       doing(peer, limits.quiet));
  }
  Groups arrived, missing;
  std::vector<int> members = operation.members;
  std::sort(members.begin(), members.end());
  for (const int member : members) {
    const RankView& view = ranks[static_cast<std::size_t>(member)];
    if (!has_arrived(view, operation)) {
      missing.add(member, doing(view, limits.quiet));
      continue;
    }
    const OperationReport& there = *find(view.report, operation.identity);
    std::string said;
    if (there.number == operation.number && there.peer < 0 &&
        there.operation != operation.operation)
      said = "in " + there.operation;
    if (view.silent > limits.quiet) said += (said.empty() ? "" : ", ") + silence(view);
    arrived.add(member, said);
  }
  std::string text =
      fmt::format("{} has waited {:.0f} s; arrived: {}; did not arrive: {}", title(operation),
                  operation.seconds, arrived.text(), missing.text());
  if (missing.empty() && candidate.urgency < 2) {
    text += "; they may differ in what they call: EYRIE_CHECK_ORDER=1 tells";
  }
  return text;
}

}  // namespace

RankReport report_progress(const Job& job, Progress::Clock::time_point now,
                           Progress::Clock::time_point since, double a_while) {
  RankReport report;
  for (const auto& progress : job.all_progress()) {
    const Progress::State state = progress->state();
    if (state.number == 0 && !state.inside) continue;
    const double seconds =
        state.inside ? std::chrono::duration<double>(now - std::max(state.since, since)).count()
                     : 0;
    report.push_back({progress->identity(),
                      progress->name(),
                      state.operation,
                      state.number,
                      state.peer,
                      state.inside,
                      std::max(seconds, 0.0),
                      {},
                      limit_factor_of(*progress)});
    if (seconds >= a_while) report.back().members = progress->members();
  }
  return report;
}

// One line per communicator: numbers first, then the texts, which contain no tabs.
std::string pack(const RankReport& report) {
  std::string text;
  for (const OperationReport& one : report) {
    text += fmt::format("{} {} {} {:.3f} {} {}", one.number, one.peer, one.inside ? 1 : 0,
                        one.seconds, one.limit_factor, one.members.size());
    for (const int member : one.members) text += fmt::format(" {}", member);
    text += fmt::format("\t{}\t{}\t{}\n", one.identity, one.name, one.operation);
  }
  return text;
}

RankReport unpack(const std::string& text) {
  RankReport report;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream fields(line);
    OperationReport one;
    std::size_t members = 0;
    fields >> one.number >> one.peer >> one.inside >> one.seconds >> one.limit_factor >> members;
    one.members.resize(members);
    for (int& member : one.members) fields >> member;
    fields.ignore();
    std::getline(fields, one.identity, '\t');
    std::getline(fields, one.name, '\t');
    std::getline(fields, one.operation);
    report.push_back(std::move(one));
  }
  return report;
}

std::optional<std::string> find_hang(const std::vector<RankView>& ranks, const Limits& limits) {
  std::optional<Candidate> worst;
  std::vector<int> silent;
  for (int rank = 0; rank < static_cast<int>(ranks.size()); ++rank) {
    const RankView& view = ranks[static_cast<std::size_t>(rank)];
    if (view.silent > limits.hang) silent.push_back(rank);
    if (view.silent > limits.quiet) continue;  // where it is now is unknown
    for (const OperationReport& one : view.report) {
      if (!one.inside || (one.members.empty() && one.peer < 0)) continue;
      const Candidate candidate = weigh(one, rank, ranks, limits);
      if (!candidate.over) continue;
      if (!worst || comes_before(candidate, *worst)) {
        worst = candidate;
      }
    }
  }
  if (worst) {
    const bool message = worst->operation->peer >= 0;
    return (message ? fmt::format("rank {} ", worst->rank) : "") + describe(*worst, ranks, limits);
  }
  if (silent.empty()) return {};
  // No rank waits for it yet.
  const RankView& view = ranks[static_cast<std::size_t>(silent.front())];
  const OperationReport* last = present(view.report);
  const bool one_host = std::all_of(silent.begin(), silent.end(), [&](int rank) {
    return ranks[static_cast<std::size_t>(rank)].host == view.host;
  });
  return fmt::format("{}{} {} answered for {:.0f} s; {} was last {}", rank_list(silent),
                     view.host.empty() || !one_host ? "" : fmt::format(", on {},", view.host),
                     silent.size() == 1 ? "has not" : "have not", view.silent,
                     silent.size() == 1 ? "it" : fmt::format("rank {}", silent.front()),
                     last != nullptr ? "in " + title(*last) : "outside of any operation");
}

}  // namespace eyrie::parallel
