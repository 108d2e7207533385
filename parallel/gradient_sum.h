// The gradient of a step: summed over micro-shards, context ranks and data ranks, and left where it
// is used. The order of the sum is a function of the run alone: the tree of gradient_tree.h over
// micro-shards, so that the bits do not depend on the number of data ranks. Context ranks' terms
// are added in rank order: below ZeRO 2 at the root of that tree, from ZeRO 2 on at its leaves. (A
// rank then gives away every micro-shard's gradient at once, and for the sums to be whole subtrees
// the data ranks take neighbouring micro-shards in turn instead of runs of them.)
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "parallel/exchange.h"
#include "parallel/exchange_queue.h"
#include "parallel/gradient_tree.h"
#include "parallel/mesh.h"
#include "parallel/unit.h"
#include "tensor/arena.h"

namespace eyrie::parallel {

// Which elements of a unit's buffer this rank updates: [begin, end); `cuts` are those of all its
// sharers. ZeRO 0: all, on every rank.
struct UnitShard {
  std::vector<std::int64_t> cuts;
  std::int64_t begin = 0, end = 0;
  std::int64_t size() const { return end - begin; }
};
std::vector<UnitShard> shards_of(const std::vector<Unit>& units, const Mesh& mesh);
// Of the sharer with this number.
std::vector<UnitShard> shards_of(const std::vector<Unit>& units, const MeshShape& shape,
                                 int sharer);

// Who takes which micro-shard of a step. Throws InputError naming the data rank counts that fit.
class StepPlan {
 public:
  StepPlan(std::int64_t micro_shards, const MeshShape& shape);
  std::int64_t count() const { return inner_.count(0); }  // of every rank
  std::int64_t micro_shard(int data_rank, std::int64_t number) const;
  // Inside a replica group, and over those.
  const MicroShardPlan& inner() const { return inner_; }
  const MicroShardPlan& outer() const { return outer_; }

 private:
  MicroShardPlan outer_, inner_;
  bool in_turn_;
};

// From ZeRO 2 on, elements of the buffers for gradients on their way out: one for the embedding,
// which is being written all through the backward pass, and two that the other units take in turns.
std::array<std::int64_t, 3> slot_sizes(const std::vector<Unit>& units);

// Used by one thread, beside the queue's.
class GradientSum {
 public:
  // `queue` works on mesh.sharers() and mesh.replicas(), in this order. All must outlive the
  // object, but for the queue, which must end first: it uses the buffers here.
  GradientSum(const std::vector<Unit>& units, const Mesh& mesh);
  ~GradientSum();
  void attach(ExchangeQueue& queue) { queue_ = &queue; }

  void begin(const StepPlan& plan);  // a step
  // Where the gradient of the unit's next micro-shard goes, and that it is there. The exchange runs
  // beside the backward pass.
  float* buffer(std::size_t unit);
  void finished(std::size_t unit);
  // Collective: waits for all sums, and adds what tensor ranks have terms of.
  void finish();
  // Then: the elements of the unit that this rank updates; may be overwritten until begin().
  std::span<float> part(std::size_t unit);
  const UnitShard& shard(std::size_t unit) const { return shards_[unit]; }

  std::int64_t bytes() const;           // of all buffers made so far
  std::int64_t exchange_bytes() const;  // of what pieces travel in; between steps

 private:
  struct Sum;
  struct Slot;  // a gradient on its way out
  std::int64_t scatter_round(std::size_t unit, std::span<float> terms);
  std::int64_t reduce_local(std::size_t unit);
  std::int64_t over_replicas(std::span<float> slice);
  void add_over_tensor_ranks();

  const std::vector<Unit>& units_;
  const Mesh& mesh_;
  int stage_;
  tensor::DType wire_;
  std::vector<UnitShard> shards_;
  std::vector<std::unique_ptr<Sum>> sums_;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::size_t turn_ = 0;  // of the last two slots
  std::unique_ptr<StepPlan> plan_;
  ExchangeSpace space_;  // of the queue's thread
  ExchangeQueue* queue_ = nullptr;
};

}  // namespace eyrie::parallel
