// The order of gradient sums: which rank owns which micro-shards, the sum within a rank, and the
// sum over ranks.
#include "parallel/sharding/gradient_tree.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"
#include "tensor/ops/elementwise.h"

namespace eyrie::parallel {

std::vector<std::int64_t> fitting_rank_counts(std::int64_t micro_shards) {
  std::vector<std::int64_t> counts = {1};
  for (std::int64_t share = micro_shards & -micro_shards; share >= 1; share /= 2) {
    if (micro_shards / share != 1) counts.push_back(micro_shards / share);
  }
  return counts;
}

MicroShardPlan::MicroShardPlan(std::int64_t micro_shards, int ranks)
    : micro_shards_(micro_shards), ranks_(ranks), group_(micro_shards & -micro_shards) {
  if (micro_shards < 1) {
    throw base::InputError(
        fmt::format("micro_shards: {}: a step needs at least one micro-shard", micro_shards));
  }
  EYRIE_CHECK(ranks >= 1, fmt::format("{} data ranks", ranks));
  const std::vector<std::int64_t> fitting = fitting_rank_counts(micro_shards);
  if (std::find(fitting.begin(), fitting.end(), ranks) != fitting.end()) return;
  std::int64_t other = ranks;
  while (other < micro_shards) other *= 2;
  throw base::InputError(fmt::format(
      "micro_shards: {}: does not split over {} data ranks, because a rank must own "
      "whole subtrees of the gradient sum. "
      "Rank counts that fit: {}. Start that many, or set micro_shards to {} or a multiple "
      "(batch_sequences must be a multiple of it; it changes the order of the sums)",
      micro_shards, ranks, fmt::join(fitting, ", "), other));
}

int MicroShardPlan::ranks_in_group() const {
  return static_cast<int>(std::max<std::int64_t>(1, group_ / count(0)));
}

GradientAccumulator::GradientAccumulator(const MicroShardPlan& plan, int rank, std::int64_t size,
                                         tensor::Device device)
    : size_(size), count_(plan.count(rank)), group_(plan.group()), device_(device) {}

tensor::Tensor GradientAccumulator::buffer() {
  EYRIE_CHECK(!complete(), "all micro-shards of this step were added");
  if (current_.data() == nullptr) current_ = take();
  return current_.view(tensor::DType::kFloat32, 1, size_);
}

void GradientAccumulator::add() {
  EYRIE_CHECK(current_.data() != nullptr && !complete(), "add() without a micro-shard's gradient");
  partials_.push_back({std::move(current_), 1});
  ++added_;
  while (partials_.size() > 1) {
    const std::int64_t last = partials_.back().micro_shards;
    const std::int64_t before = partials_[partials_.size() - 2].micro_shards;
    // Merges equal subtrees of one group, or a finished group into the finished groups before it.
    if (last < group_ && before != last) break;
    merge();
  }
}

void GradientAccumulator::merge() {
  Partial last = std::move(partials_.back());
  partials_.pop_back();
  Partial& before = partials_.back();
  const auto row = [&](const tensor::Buffer& buffer) {
    return buffer.view(tensor::DType::kFloat32, 1, size_);
  };
  tensor::add(row(last.buffer), row(before.buffer));
  before.micro_shards += last.micro_shards;
  free_.push_back(std::move(last.buffer));
}

tensor::Tensor GradientAccumulator::sum() {
  EYRIE_CHECK(complete() && partials_.size() == 1,
              fmt::format("{} of {} micro-shards were added", added_, count_));
  return partials_[0].buffer.view(tensor::DType::kFloat32, 1, size_);
}

void GradientAccumulator::reset() {
  for (Partial& partial : partials_) free_.push_back(std::move(partial.buffer));
  partials_.clear();
  added_ = 0;
}

tensor::Buffer GradientAccumulator::take() {
  if (!free_.empty()) {
    tensor::Buffer buffer = std::move(free_.back());
    free_.pop_back();
    return buffer;
  }
  ++buffers_;
  return tensor::Buffer(static_cast<std::size_t>(size_) * sizeof(float), device_);
}

}  // namespace eyrie::parallel
