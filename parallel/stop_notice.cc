// One byte to every other rank, sent once.
#include "parallel/stop_notice.h"

#include <array>
#include <span>
#include <string>

#include "parallel/stop.h"

namespace eyrie::parallel {
namespace {

constexpr int kTag = 1;
constexpr std::array<std::byte, 1> kNotice = {};

}  // namespace

StopNotice::StopNotice(Communicator& readers, Communicator* mates)
    : readers_(readers.duplicate()), mates_(mates) {}
StopNotice::~StopNotice() = default;

bool StopNotice::requested() {
  if (stopping_) return true;
  std::array<std::int64_t, 1> any = {asked_ || stop_requested() || readers_->probe(kTag) ? 1 : 0};
  if (mates_ != nullptr && mates_->size() > 1) mates_->all_reduce(any, Reduce::kMax);
  stopping_ = any[0] != 0;
  if (!stopping_) return false;
  for (int rank = 0; rank < readers_->size(); ++rank) {
    if (rank != readers_->rank()) sent_.push_back(readers_->send(kNotice, rank, kTag));
  }
  return true;
}

bool StopNotice::finish() {
  const std::vector<std::string> stopped = readers_->all_gather(stopping_ ? "1" : "0");
  bool any = false;
  for (int rank = 0; rank < readers_->size(); ++rank) {
    if (stopped[static_cast<std::size_t>(rank)] != "1") continue;
    any = true;
    std::array<std::byte, 1> notice = {};
    if (rank != readers_->rank()) readers_->receive(notice, rank, kTag)->wait();
  }
  for (const auto& request : sent_) request->wait();
  sent_.clear();
  asked_ = stopping_ = false;
  return any;
}

}  // namespace eyrie::parallel
