// AdamW on a mesh: gradients are summed over micro-shards and ranks in the one order, each rank
// updates its part of every unit, and the updated parameters travel to those who read them.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "model/griffin.h"
#include "parallel/gradient_sum.h"
#include "parallel/mesh.h"
#include "trainer/checkpoint.h"
#include "trainer/parameter_shards.h"
#include "trainer/run_config.h"

namespace eyrie::trainer {

// Parameters as the mesh's ZeRO stage keeps them, for Optimizer.
model::Parameters make_parameters(const model::Griffin& griffin, tensor::DType compute,
                                  const parallel::Mesh& mesh);

// Use, every step: begin(); for each of this rank's micro-shards griffin.loss(…, optimizer);
// grad_norm(); apply() unless the step is to be skipped. Collective where data moves. Not
// thread-safe.
class Optimizer : public model::GradientSink {
 public:
  Optimizer(const OptimizerConfig& config, model::Parameters& parameters,
            const parallel::Mesh& mesh);
  ~Optimizer() override;

  void begin(const parallel::StepPlan& plan);  // a step of this plan

  // GradientSink: the exchange of a unit starts when its last local micro-shard is done (from ZeRO
  // 2 on, every one), beside the backward pass.
  float* gradient(std::size_t unit) override { return gradients_.buffer(unit); }
  void finished(std::size_t unit) override { gradients_.finished(unit); }

  // Waits for all sums. The norm over all parameters: fp64 sums over blocks of 4,096 elements of a
  // tensor rank's slice, added in order; a parameter that all tensor ranks hold counts once. The
  // same on all ranks, and on every number of data ranks.
  double grad_norm();

  // One AdamW step on this rank's part; then every rank gets what it reads.
  void apply(double learning_rate, double grad_norm);

  void initialise(std::uint64_t seed);  // the parameters
  void reset_moments();

  // What this rank writes to a checkpoint: its parts of parameters/…, moment1/…, moment2/….
  std::vector<TensorPiece> pieces() const;
  // Fills masters and moments from a checkpoint of any layout. Not collective: share() after it.
  void load(const CheckpointReader& reader);
  void share() { parameter_shards_.renew_all(); }
  std::int64_t updates() const { return updates_; }  // AdamW's own step count: bias corrections
  void set_updates(std::int64_t updates) { updates_ = updates; }

  parallel::ExchangeQueue::Counters exchange() const { return queue_->counters(); }

  // What this rank sent since the start. Tensor and context ranks' activations are counted where
  // the mesh has them.
  parallel::AxisBytes bytes_sent() const;
  // What lies here beside the parameters themselves; between steps.
  struct Bytes {
    std::int64_t moments = 0, gradients = 0, lent = 0, exchange = 0;
  };
  Bytes bytes() const;

  // Elements [begin, begin + values.size()) of a unit's buffer: the last step's summed gradient,
  // this rank's part. For tests.
  std::span<const float> gradient_part(std::size_t unit) { return gradients_.part(unit); }
  std::int64_t part_begin(std::size_t unit) const { return gradients_.shard(unit).begin; }

 private:
  struct Moments {
    tensor::Buffer first, second;  // of this rank's part
  };
  double squares_of_column();
  OptimizerConfig config_;
  model::Parameters& parameters_;
  const parallel::Mesh& mesh_;
  std::vector<parallel::UnitShard> shards_;
  std::vector<std::vector<parallel::UnitBlock>> blocks_;  // by unit
  parallel::GradientSum gradients_;
  ParameterShards parameter_shards_;
  std::vector<Moments> moments_;
  std::int64_t updates_ = 0;
  std::unique_ptr<parallel::ExchangeQueue> queue_;  // last: it ends before the buffers go
};

}  // namespace eyrie::trainer
