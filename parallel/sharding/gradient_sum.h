// Sums the gradient of a step over micro-shards, context ranks and data ranks, and leaves each
// element on the ranks that use it. The order of the sum depends only on the run's configuration:
// micro-shards are added along the tree of gradient_tree.h, so that the bits do not depend on the
// number of data ranks. Context ranks' partial sums are added in rank order: below ZeRO 2 at the
// root of that tree, from ZeRO 2 on at its leaves. (From ZeRO 2 on, every micro-shard's gradient is
// scattered at once. For these sums to be whole subtrees, data ranks take neighbouring micro-shards
// in turn instead of contiguous runs.)
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "parallel/communication/exchange.h"
#include "parallel/communication/exchange_queue.h"
#include "parallel/sharding/gradient_tree.h"
#include "parallel/sharding/mesh.h"
#include "parallel/sharding/unit.h"
#include "tensor/arena.h"

namespace eyrie::parallel {

// The elements of a unit's buffer that this rank updates: [begin, end). `cuts` are the boundaries
// for the whole shard group. ZeRO 0: every rank updates all elements.
struct UnitShard {
  Cuts cuts;
  std::int64_t begin = 0, end = 0;
  std::int64_t size() const { return end - begin; }
};
// `units` must outlive them.
std::vector<UnitShard> shards_of(const std::vector<Unit>& units, const Mesh& mesh);
// The same for the rank `shard_rank` of a shard group.
std::vector<UnitShard> shards_of(const std::vector<Unit>& units, const MeshShape& shape,
                                 int shard_rank);

// Assigns the micro-shards of a step to data ranks. Throws InputError naming the data rank counts
// that fit.
class StepPlan {
 public:
  StepPlan(std::int64_t micro_shards, const MeshShape& shape);
  std::int64_t count() const { return inner_.count(0); }  // per data rank
  std::int64_t micro_shard(int data_rank, std::int64_t number) const;
  // The plan within a replica group, and the plan over the replica groups.
  const MicroShardPlan& inner() const { return inner_; }
  const MicroShardPlan& outer() const { return outer_; }

 private:
  MicroShardPlan outer_, inner_;
  bool in_turn_;
};

// Sizes, in elements, of the buffers that hold gradients during their exchange (from ZeRO 2 on):
// one for the embedding, which is written throughout the backward pass, and two that the other
// units use in turn.
std::array<std::int64_t, 3> slot_sizes(const std::vector<Unit>& units);

// Used by one thread besides the queue's.
class GradientSum {
 public:
  // `units` and `mesh` must outlive the object. Gradients are on `device`.
  GradientSum(const std::vector<Unit>& units, const Mesh& mesh, tensor::Device device);
  ~GradientSum();
  // Before the first step: a queue that works on mesh.shard_group() and mesh.replicate_group(), in
  // this order. It must be destroyed before this object, whose buffers it uses.
  void attach(ExchangeQueue& queue) { queue_ = &queue; }

  void begin(const StepPlan& plan);  // starts a step
  // buffer() is where to write the gradient of the unit's next micro-shard, (1, its size) fp32;
  // finished() says that it is written. The exchange then runs beside the backward pass.
  tensor::Tensor buffer(std::size_t unit);
  void finished(std::size_t unit);
  // Collective. Waits for all sums, then adds the gradients of which tensor ranks hold partial
  // sums.
  void finish();
  // After finish(): the elements of the unit that this rank updates. The caller may overwrite them
  // until begin().
  tensor::Tensor part(std::size_t unit);
  const UnitShard& shard(std::size_t unit) const { return shards_[unit]; }

  std::int64_t bytes() const;           // of all buffers allocated so far
  std::int64_t exchange_bytes() const;  // of the exchange's buffers; call between steps

 private:
  struct Sum;
  struct Slot;  // holds a gradient during its exchange
  std::int64_t scatter_round(std::size_t unit, const tensor::Tensor& partial_sums);
  std::int64_t reduce_local(std::size_t unit);
  std::int64_t over_replicas(const tensor::Tensor& slice);
  void add_over_tensor_ranks();

  const std::vector<Unit>& units_;
  const Mesh& mesh_;
  tensor::Device device_;
  int stage_;
  tensor::DType comm_dtype_;
  std::vector<UnitShard> shards_;
  std::vector<std::unique_ptr<Sum>> sums_;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::size_t turn_ = 0;  // alternates between the last two slots
  std::unique_ptr<StepPlan> plan_;
  ExchangeSpace space_;  // used by the queue's thread
  ExchangeQueue* queue_ = nullptr;
};

}  // namespace eyrie::parallel
