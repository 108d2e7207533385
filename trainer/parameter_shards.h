// All-gathers parameters of which each rank updates a shard: in ZeRO 1 and 2 after every step, in
// ZeRO 3 unit by unit while they are used.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "model/training_parameters.h"
#include "parallel/communication/exchange_queue.h"
#include "parallel/sharding/gradient_sum.h"
#include "parallel/sharding/mesh.h"

namespace eyrie::trainer {

// Calls that exchange data are collective. Used by one thread, besides the queue's.
class ParameterShards : public model::ShardedUnits {
 public:
  // All must outlive the object, except the queue, which must end first.
  ParameterShards(model::TrainingParameters& parameters, const parallel::Mesh& mesh,
                  const std::vector<parallel::UnitShard>& shards);
  ~ParameterShards() override;
  void attach(parallel::ExchangeQueue& queue) { queue_ = &queue; }

  // Starts the all-gather of a unit after this rank's master weights of it have changed.
  void all_gather_parameters(std::size_t unit);
  void finish_all_gather();
  void all_gather_all();

  // Bytes of the slots for gathered units, and of the buffer for parameters that are kept whole.
  std::int64_t gathered_bytes() const;
  std::int64_t exchange_bytes() const { return static_cast<std::int64_t>(rows_.size()); }

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
  std::int64_t gather_rows();
  parallel::ExchangeQueue::Ticket post_gather(std::size_t unit, const tensor::Tensor& copy);

  model::TrainingParameters& parameters_;
  const parallel::Mesh& mesh_;
  const std::vector<parallel::UnitShard>& shards_;
  parallel::ExchangeQueue* queue_ = nullptr;
  std::vector<std::unique_ptr<Slot>> slots_;
  parallel::Cuts row_cuts_;  // of rows_ over ranks
  tensor::Buffer rows_;
};

}  // namespace eyrie::trainer
