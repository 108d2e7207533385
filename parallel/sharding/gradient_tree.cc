// The order of gradient sums: which rank owns which micro-shards, the sum within a rank, and the
// sum over ranks.
#include "parallel/sharding/gradient_tree.h"

#include <algorithm>
#include <new>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"
#include "tensor/threads.h"

namespace eyrie::parallel {
namespace {

constexpr std::align_val_t kAlignment{64};

void add_to(float* __restrict sum, const float* __restrict term, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) sum[i] += term[i];
}

}  // namespace

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

void add_binary(std::span<float* const> parts, std::int64_t count) {
  for (std::size_t step = 1; step < parts.size(); step *= 2) {
    for (std::size_t i = 0; i + step < parts.size(); i += 2 * step)
      add_to(parts[i], parts[i + step], count);
  }
}

void add_rank_sums(const MicroShardPlan& plan, std::span<float* const> parts, std::int64_t count) {
  const auto ranks = static_cast<std::size_t>(plan.ranks()),
             group = static_cast<std::size_t>(plan.ranks_in_group());
  EYRIE_CHECK(parts.size() == ranks, "one part a rank");
  // In blocks that stay in the L1 cache while the tree is summed.
  constexpr std::int64_t kBlock = 1024;
  std::vector<float*> block(ranks);
  for (std::int64_t at = 0; at < count; at += kBlock) {
    const std::int64_t length = std::min(kBlock, count - at);
    for (std::size_t r = 0; r < ranks; ++r) block[r] = parts[r] + at;
    for (std::size_t start = 0; start < ranks; start += group) {
      add_binary(std::span(block).subspan(start, group), length);
      if (start > 0) add_to(block[0], block[start], length);
    }
  }
}

void GradientAccumulator::Free::operator()(float* memory) const {
  ::operator delete[](memory, kAlignment);
}

GradientAccumulator::GradientAccumulator(const MicroShardPlan& plan, int rank, std::int64_t size)
    : size_(size), count_(plan.count(rank)), group_(plan.group()) {}

std::span<float> GradientAccumulator::buffer() {
  EYRIE_CHECK(!complete(), "all micro-shards of this step were added");
  if (!current_) current_ = take();
  return {current_.get(), static_cast<std::size_t>(size_)};
}

void GradientAccumulator::add() {
  EYRIE_CHECK(current_ && !complete(), "add() without a micro-shard's gradient");
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
  tensor::parallel_for(size_, 1 << 15, [&](std::int64_t begin, std::int64_t end) {
    add_to(before.buffer.get() + begin, last.buffer.get() + begin, end - begin);
  });
  before.micro_shards += last.micro_shards;
  free_.push_back(std::move(last.buffer));
}

std::span<float> GradientAccumulator::sum() {
  EYRIE_CHECK(complete() && partials_.size() == 1,
              fmt::format("{} of {} micro-shards were added", added_, count_));
  return {partials_[0].buffer.get(), static_cast<std::size_t>(size_)};
}

void GradientAccumulator::reset() {
  for (Partial& partial : partials_) free_.push_back(std::move(partial.buffer));
  partials_.clear();
  added_ = 0;
}

GradientAccumulator::Buffer GradientAccumulator::take() {
  if (!free_.empty()) {
    Buffer buffer = std::move(free_.back());
    free_.pop_back();
    return buffer;
  }
  ++buffers_;
  const std::size_t bytes = std::max<std::size_t>(1, size_) * sizeof(float);
  return Buffer(static_cast<float*>(::operator new[](bytes, kAlignment)));
}

}  // namespace eyrie::parallel
