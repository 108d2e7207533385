// A rank that stops sends one byte to every other rank, once.
#include "parallel/health/stop_notice.h"

#include <array>
#include <span>
#include <string>

#include "parallel/health/stop.h"

namespace eyrie::parallel {
namespace {

constexpr int kTag = 1;
constexpr std::array<std::byte, 1> kNotice = {};

}  // namespace

StopNotice::StopNotice(Communicator& group, Communicator* tensor)
    : group_(group.duplicate()), tensor_(tensor) {}
StopNotice::~StopNotice() = default;

bool StopNotice::requested() {
  if (stopping_) return true;
  stopping_ = asked_ || stop_requested() || group_->probe(kTag);
  if (tensor_ != nullptr && tensor_->size() > 1) stopping_ = tensor_->any(stopping_);
  if (!stopping_) return false;
  for (int rank = 0; rank < group_->size(); ++rank) {
    if (rank != group_->rank()) sent_.push_back(group_->send(kNotice, rank, kTag));
  }
  return true;
}

bool StopNotice::finish() {
  const std::vector<std::string> stopped = group_->all_gather(stopping_ ? "1" : "0");
  bool any = false;
  for (int rank = 0; rank < group_->size(); ++rank) {
    if (stopped[static_cast<std::size_t>(rank)] != "1") continue;
    any = true;
    std::array<std::byte, 1> notice = {};
    if (rank != group_->rank()) group_->receive(notice, rank, kTag)->wait();
  }
  for (const auto& request : sent_) request->wait();
  sent_.clear();
  asked_ = stopping_ = false;
  return any;
}

}  // namespace eyrie::parallel
