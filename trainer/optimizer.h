// The sharded optimizer (ZeRO 1): gradients are summed over micro-shards and ranks in the one tree,
// each rank updates the part of every unit that it owns, and the updated masters travel back to
// all.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "model/griffin.h"
#include "parallel/communicator.h"
#include "parallel/exchange.h"
#include "parallel/gradient_tree.h"
#include "trainer/checkpoint.h"
#include "trainer/run_config.h"

namespace eyrie::trainer {

// Use, every step: begin(); for each micro-shard of this rank, griffin.loss(…, optimizer);
// reduce(); all ranks exchange the sums below; then apply(). Collective where data moves. Not
// thread-safe.
class Optimizer : public model::GradientSink {
 public:
  Optimizer(const OptimizerConfig& config, model::Parameters& parameters,
            parallel::Communicator& ranks);
  ~Optimizer() override;

  void begin(const parallel::MicroShardPlan& plan);  // a step of this plan

  // GradientSink: the exchange of a unit starts when its last local micro-shard is done, beside the
  // backward pass.
  float* gradient(std::size_t unit) override;
  void finished(std::size_t unit) override;

  // Waits for all sums. Writes Σ g² of every block that this rank owns to squares[block]; the
  // others stay as they are (zero). Blocks are numbered over all units; block_count() of them.
  void reduce(std::span<double> squares);
  std::int64_t block_count() const { return block_count_; }

  // The global norm from all ranks' squares, added in block order.
  static double norm(std::span<const double> squares);

  // One AdamW step on the owned parts; then every rank gets all masters, and the compute copies are
  // renewed.
  void apply(double learning_rate, double grad_norm);

  void reset_moments();

  // What this rank writes to a checkpoint: its parts of parameters/…, moment1/…, moment2/….
  std::vector<TensorPiece> pieces() const;
  // Fills masters (all) and moments (owned parts) from a checkpoint of any layout.
  void load(const CheckpointReader& reader);
  std::int64_t updates() const { return updates_; }  // AdamW's own step count: bias corrections
  void set_updates(std::int64_t updates) { updates_ = updates; }

  parallel::ExchangeQueue::Counters exchange() const { return queue_.counters(); }

 private:
  struct UnitState;
  OptimizerConfig config_;
  model::Parameters& parameters_;
  parallel::Communicator& ranks_;
  parallel::ExchangeQueue queue_;
  std::vector<std::unique_ptr<UnitState>> units_;
  std::vector<std::size_t> order_;  // units in the order in which their exchange started
  std::unique_ptr<parallel::MicroShardPlan> plan_;
  std::int64_t block_count_ = 0, updates_ = 0;
};

}  // namespace eyrie::trainer
