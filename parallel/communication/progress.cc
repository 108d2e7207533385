// Operations in progress, and the error text for calls that differ.
#include "parallel/communication/progress.h"

#include <algorithm>

#include <fmt/format.h>

#include "parallel/communication/communicator.h"

namespace eyrie::parallel {
Progress::Progress(std::string name, std::string identity, std::vector<int> members)
    : name_(std::move(name)), identity_(std::move(identity)), members_(std::move(members)) {}

Progress::State Progress::state() const {
  std::lock_guard lock(mutex_);
  return state_;
}

std::int64_t Progress::enter(const char* operation) {
  const Clock::time_point now = Clock::now();
  std::lock_guard lock(mutex_);
  if (depth_++ > 0) return 0;
  state_ = {operation, state_.number + 1, -1, true, now};
  return state_.number;
}

void Progress::enter_message(const char* what, int peer) {
  std::lock_guard lock(mutex_);
  if (depth_++ > 0) return;
  state_ = {what, state_.number, peer, true, Clock::now()};
}

void Progress::leave() {
  std::lock_guard lock(mutex_);
  if (--depth_ == 0) state_.inside = false;
}

Operation::Operation(Communicator& communicator, const char* operation, std::int64_t bytes,
                     int root)
    : progress_(communicator.size() > 1 ? communicator.progress() : nullptr) {
  if (progress_ == nullptr) return;
  const std::int64_t number = progress_->enter(operation);
  if (number == 0) return;
  try {
    communicator.check_call({operation, number, bytes, root});
  } catch (...) {
    progress_->leave();
    throw;
  }
}

Operation::~Operation() {
  if (progress_ != nullptr) progress_->leave();
}

MessageWait::MessageWait(Progress& progress, const char* what, int peer) : progress_(progress) {
  progress_.enter_message(what, peer);
}

MessageWait::~MessageWait() { progress_.leave(); }

const char* all_reduce_name(Reduce how, bool integers) {
  switch (how) {
    case Reduce::kSum:
      return integers ? "all_reduce (sum of integers)" : "all_reduce (sum)";
    case Reduce::kMax:
      return integers ? "all_reduce (max of integers)" : "all_reduce (max)";
    case Reduce::kMin:
      return integers ? "all_reduce (min of integers)" : "all_reduce (min)";
  }
  return "all_reduce";
}

std::string rank_list(const std::vector<int>& ranks) {
  if (ranks.empty()) return "none";
  std::string text = ranks.size() == 1 ? "rank " : "ranks ";
  for (std::size_t first = 0, last = 0; first < ranks.size(); first = last + 1) {
    last = first;
    while (last + 1 < ranks.size() && ranks[last + 1] == ranks[last] + 1) ++last;
    text += fmt::format("{}{}", first == 0 ? "" : ", ", ranks[first]);
    if (last > first) text += fmt::format("{}{}", last == first + 1 ? ", " : "-", ranks[last]);
  }
  return text;
}

std::string difference(const std::string& name, const std::vector<RankCall>& calls) {
  // Ranks that made the same call share one text.
  std::vector<std::pair<std::string, std::vector<int>>> kinds;
  for (const RankCall& call : calls) {
    std::string text = call.operation;
    if (call.number != calls.front().number) text += fmt::format(" {}", call.number);
    if (call.root >= 0) text += fmt::format(" with root {}", call.root);
    if (call.bytes >= 0) text += fmt::format(" of {} bytes", call.bytes);
    const auto kind =
        std::find_if(kinds.begin(), kinds.end(), [&](const auto& k) { return k.first == text; });
    if (kind == kinds.end()) {
      kinds.push_back({text, {call.rank}});
    } else {
      kind->second.push_back(call.rank);
    }
  }
  if (kinds.size() < 2) return "";
  std::string text =
      fmt::format("the ranks of '{}' differ in operation {}: ", name, calls.front().number);
  for (std::size_t i = 0; i < kinds.size(); ++i) {
    std::sort(kinds[i].second.begin(), kinds[i].second.end());
    text +=
        fmt::format("{}{} on {}", i == 0 ? "" : ", ", kinds[i].first, rank_list(kinds[i].second));
  }
  return text;
}

}  // namespace eyrie::parallel
