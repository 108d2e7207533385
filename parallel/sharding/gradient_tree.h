// The one order in which gradients are summed. A step has M canonical micro-shards, M = odd × 2^k,
// set by the run and not by the number of ranks. The tree is binary inside each group of 2^k
// micro-shards; the groups are added in order:
//
//   M = 6 = 3 × 2:   ((s0 + s1) + (s2 + s3)) + (s4 + s5)
//
// Each data rank owns whole subtrees (contiguous ones below ZeRO 2; see gradient_sum.h). A rank
// adds its own micro-shards, and the exchange (exchange.h) continues with the same tree, so the
// sums have the same bits for every number of ranks that fits.
#pragma once

#include <cstdint>
#include <vector>

#include "tensor/arena.h"

namespace eyrie::parallel {

// Assigns the micro-shards of a step to data ranks.
class MicroShardPlan {
 public:
  // Throws InputError naming the rank counts that fit: 1, and every R that divides M with M / R a
  // power of two (12 micro-shards: 1, 3, 6, 12).
  MicroShardPlan(std::int64_t micro_shards, int ranks);

  std::int64_t micro_shards() const { return micro_shards_; }
  int ranks() const { return ranks_; }
  std::int64_t first(int rank) const { return rank * count(rank); }
  std::int64_t count(int /*rank*/) const { return micro_shards_ / ranks_; }  // the same for all
  // 2^k: the number of micro-shards in one binary group.
  std::int64_t group() const { return group_; }
  // The number of neighbouring ranks whose subtrees form one binary group: a power of two.
  int ranks_in_group() const;

 private:
  std::int64_t micro_shards_;
  int ranks_;
  std::int64_t group_;
};

// Returns all rank counts that MicroShardPlan accepts, ascending.
std::vector<std::int64_t> fitting_rank_counts(std::int64_t micro_shards);

// Sums one flat gradient (of a parameter unit) over this rank's micro-shards. Keeps at most one
// partial sum per level of the tree: at most k + 2 buffers, allocated when first needed and kept
// for the next step. Not thread-safe.
class GradientAccumulator {
 public:
  GradientAccumulator(const MicroShardPlan& plan, int rank, std::int64_t size,
                      tensor::Device device);

  // Where to write the gradient of the next micro-shard: (1, size) fp32, contents undefined. The
  // same buffer until add(), another one after it.
  tensor::Tensor buffer();
  // Adds the next micro-shard's gradient, which the caller has written to buffer().
  void add();
  // Whether all of this rank's micro-shards were added.
  bool complete() const { return added_ == count_; }
  // Their sum; the caller may overwrite it (the exchange works in place). Valid until reset().
  tensor::Tensor sum();
  // Prepares for the next step's first micro-shard.
  void reset();

  int buffers() const { return buffers_; }  // allocated so far

 private:
  struct Partial {
    tensor::Buffer buffer;
    std::int64_t micro_shards;  // how many are summed in it
  };

  tensor::Buffer take();
  void merge();  // adds the last partial sum to the one before

  std::int64_t size_;
  std::int64_t count_;
  std::int64_t group_;
  tensor::Device device_;
  std::int64_t added_ = 0;
  int buffers_ = 0;
  tensor::Buffer current_;
  std::vector<Partial> partials_;  // larger subtrees first; finished groups are one entry
  std::vector<tensor::Buffer> free_;
};

}  // namespace eyrie::parallel
