// The one order in which gradients are summed. A step is M canonical micro-shards, M = odd × 2^k,
// set by the run and not by the ranks. The tree is binary inside each group of 2^k micro-shards;
// the groups are added in order:
//
//   M = 6 = 3 × 2:   ((s0 + s1) + (s2 + s3)) + (s4 + s5)
//
// Data ranks own contiguous whole subtrees, so a rank adds its own micro-shards and the exchange
// (exchange.h) goes on with the same tree: the sums have the same bits on every number of ranks
// that fits.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace eyrie::parallel {

// Which micro-shards of a step belong to which data rank.
class MicroShardPlan {
 public:
  // Throws InputError naming the rank counts that fit. These are 1, and every R that divides M with
  // M / R a power of two (12 micro-shards: 1, 3, 6, 12).
  MicroShardPlan(std::int64_t micro_shards, int ranks);

  std::int64_t micro_shards() const { return micro_shards_; }
  int ranks() const { return ranks_; }
  std::int64_t first(int rank) const { return rank * count(rank); }
  std::int64_t count(int /*rank*/) const { return micro_shards_ / ranks_; }  // the same for all
  // 2^k: the micro-shards of one binary group.
  std::int64_t group() const { return group_; }
  // The neighbouring ranks whose subtrees make up one binary group: a power of two.
  int ranks_in_group() const;

 private:
  std::int64_t micro_shards_;
  int ranks_;
  std::int64_t group_;
};

// All rank counts that MicroShardPlan takes, ascending.
std::vector<std::int64_t> fitting_rank_counts(std::int64_t micro_shards);

// parts[0][0 … count) = the balanced binary tree over the parts, whose number is a power of two.
// All parts are overwritten.
void add_binary(std::span<float* const> parts, std::int64_t count);

// Adds the ranks' local sums, which lie in parts[rank][0 … count), in the tree's order. All parts
// are overwritten; the result is in parts[0].
void add_rank_sums(const MicroShardPlan& plan, std::span<float* const> parts, std::int64_t count);

// Sums one flat gradient (of a parameter unit) over this rank's micro-shards. Keeps at most one
// partial sum for each level of the tree: k + 2 buffers at the worst, made when first needed and
// kept for the next step. One thread.
class GradientAccumulator {
 public:
  GradientAccumulator(const MicroShardPlan& plan, int rank, std::int64_t size);

  // Where the gradient of the next micro-shard goes: `size` elements, 64-byte aligned, contents
  // undefined. Another one after each add(); the same one until then.
  std::span<float> buffer();
  // buffer() holds the next micro-shard's finished gradient.
  void add();
  // All of this rank's micro-shards were added.
  bool complete() const { return added_ == count_; }
  // Their sum; the caller may overwrite it (the exchange works in place). Valid until reset().
  std::span<float> sum();
  // Ready for the next step's first micro-shard.
  void reset();

  int buffers() const { return buffers_; }  // made so far

 private:
  struct Free {
    void operator()(float* memory) const;
  };
  using Buffer = std::unique_ptr<float[], Free>;
  struct Partial {
    Buffer buffer;
    std::int64_t micro_shards;  // summed in it
  };

  Buffer take();
  void merge();  // adds the last partial sum to the one before

  std::int64_t size_;
  std::int64_t count_;
  std::int64_t group_;
  std::int64_t added_ = 0;
  int buffers_ = 0;
  Buffer current_;
  std::vector<Partial> partials_;  // larger subtrees first; finished groups are one partial sum
  std::vector<Buffer> free_;
};

}  // namespace eyrie::parallel
