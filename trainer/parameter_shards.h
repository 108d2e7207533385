// Parameters that each rank updates a shard of, brought to all that read them: ZeRO 1 and 2 after
// every step, ZeRO 3 unit by unit for the time of their use.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "model/parameters.h"
#include "parallel/exchange_queue.h"
#include "parallel/gradient_sum.h"
#include "parallel/mesh.h"

namespace eyrie::trainer {

// Collective where data moves. Used by one thread, beside the queue's.
class ParameterShards : public model::UnitGate {
 public:
  // All must outlive the object, but for the queue, which must end first.
  ParameterShards(model::Parameters& parameters, const parallel::Mesh& mesh,
                  const std::vector<parallel::UnitShard>& shards);
  ~ParameterShards() override;
  void attach(parallel::ExchangeQueue& queue) { queue_ = &queue; }

  // This rank's masters of a unit have changed: the others begin to get them.
  void renew(std::size_t unit);
  void finish_renewal();
  void renew_all();

  // Bytes of the slots that units are fetched into, and of what travels of rows.
  std::int64_t lent_bytes() const;
  std::int64_t exchange_bytes() const { return std::ssize(rows_) * std::int64_t{sizeof(float)}; }

  // ZeRO 3. The unit is there when enter() returns, and the next one on its way.
  void enter(std::size_t unit, std::size_t next) override;
  void leave(std::size_t unit) override;
  void begin_pass() override;
  void finish_passes() override;

 private:
  struct Slot;   // memory for one unit
  struct Range;  // of a row that is kept whole
  bool shared() const { return mesh_.shape().zero > 0 && mesh_.sharers().size() > 1; }
  bool anyone_passes(bool here);
  void fetch(std::size_t unit);
  Slot* slot_of(std::size_t unit);
  std::int64_t gather_rows();
  parallel::ExchangeQueue::Ticket post_gather(std::size_t unit, std::span<std::byte> copy);

  model::Parameters& parameters_;
  const parallel::Mesh& mesh_;
  const std::vector<parallel::UnitShard>& shards_;
  parallel::ExchangeQueue* queue_ = nullptr;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::vector<std::int64_t> row_cuts_;  // of rows_ over ranks
  std::vector<Range> ranges_;           // of all ranks, by rank
  std::vector<float> rows_;
};

}  // namespace eyrie::trainer
