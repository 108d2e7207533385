// All-gathers parameters of which each rank updates a shard: in ZeRO 1 and 2 after every step, in
// ZeRO 3 unit by unit while they are used.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "parallel/communication/exchange_queue.h"
#include "parallel/sharding/gradient_sum.h"
#include "parallel/sharding/mesh.h"
#include "parallel/sharding/sharded_weights.h"

namespace eyrie::parallel {

// Calls that exchange data are collective. Used by one thread, besides the queue's.
class ParameterShards : public UnitGather {
 public:
  // All must outlive the object, except the queue, which must end first.
  ParameterShards(ShardedWeights& weights, const Mesh& mesh, const std::vector<UnitShard>& shards);
  ~ParameterShards() override;
  void attach(ExchangeQueue& queue) { queue_ = &queue; }

  // Starts the all-gather of a unit after this rank's master weights of it have changed.
  void all_gather_parameters(std::size_t unit);
  void finish_all_gather();
  void all_gather_all();

  // Bytes of the slots for gathered units, and of the buffer for parameters that are kept whole.
  std::int64_t gathered_bytes() const;
  std::int64_t exchange_bytes() const { return static_cast<std::int64_t>(vectors_.size()); }

  // ZeRO 3. When unshard() returns, the unit is gathered and the all-gather of the next has
  // started.
  void unshard(std::size_t unit, std::size_t next) override;
  void reshard(std::size_t unit) override;
  void begin_pass() override;
  void finish_passes() override;

 private:
  struct Slot;  // memory for one unit
  bool shared() const { return mesh_.shape().zero > 0 && mesh_.shard_group().size() > 1; }
  bool anyone_passes(bool here);
  void fetch(std::size_t unit);
  Slot* slot_of(std::size_t unit);
  std::int64_t gather_vectors();
  ExchangeQueue::Ticket post_gather(std::size_t unit, const tensor::Tensor& copy);

  ShardedWeights& weights_;
  const Mesh& mesh_;
  const std::vector<UnitShard>& shards_;
  ExchangeQueue* queue_ = nullptr;
  std::vector<std::unique_ptr<Slot>> slots_;
  Cuts vector_cuts_;  // of vectors_ over ranks
  tensor::Buffer vectors_;
};

}  // namespace eyrie::parallel
