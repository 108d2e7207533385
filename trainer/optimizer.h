// AdamW on a mesh: gradients are summed over micro-shards and ranks in a fixed order, each rank
// updates its part of every unit, and the updated parameters are all-gathered (with ZeRO 3 those
// that are kept whole; the others when they are used).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/reader.h"
#include "model/griffin.h"
#include "model/training_parameters.h"
#include "parallel/sharding/gradient_sum.h"
#include "parallel/sharding/mesh.h"
#include "parallel/sharding/parameter_shards.h"
#include "trainer/run_config.h"

namespace eyrie::trainer {

// Creates the parameters for Optimizer, sharded as the mesh's ZeRO stage requires.
model::TrainingParameters make_parameters(const std::vector<parallel::Unit>& units,
                                          tensor::DType compute, const parallel::Mesh& mesh,
                                          tensor::Device device = tensor::Device::kCpu);

// Per step: begin(); for each of this rank's micro-shards griffin.loss(…, optimizer); grad_norm();
// step() unless the step is to be skipped. Calls that exchange data are collective. Not
// thread-safe.
class Optimizer : public model::GradientSink {
 public:
  Optimizer(const OptimizerConfig& config, model::TrainingParameters& parameters,
            const parallel::Mesh& mesh);
  ~Optimizer() override;

  void begin(const parallel::StepPlan& plan);  // a step of this plan

  // GradientSink: the exchange of a unit's gradient starts after its last local micro-shard (from
  // ZeRO 2 on, after every one) and overlaps the backward pass.
  tensor::Tensor gradient(std::size_t unit) override { return gradients_.buffer(unit); }
  void finished(std::size_t unit) override { gradients_.finished(unit); }

  // Waits for all sums. Returns the norm over all parameters: fp64 sums over blocks of 4,096
  // elements of a tensor rank's slice, added in order; a parameter that all tensor ranks hold
  // counts once. The same on all ranks, and for any number of data ranks.
  double grad_norm();

  // Collective, after grad_norm(). The norm of each parameter's gradient, by name, in the order of
  // the units. Not bit for bit the same on other meshes.
  std::vector<std::pair<std::string, double>> grad_norms();

  // One AdamW step on this rank's part, then the all-gather of the updated parameters.
  void step(double learning_rate, double grad_norm);

  void reset_moments();

  // Returns what this rank writes to a checkpoint: its parts of parameters/…, moment1/…, moment2/….
  std::vector<checkpoint::TensorPiece> checkpoint_pieces() const;
  // Loads master weights and moments from a checkpoint of any layout. Not collective; call
  // all_gather_parameters() after it.
  void load(const checkpoint::CheckpointReader& reader);
  void all_gather_parameters() { parameter_shards_.all_gather_all(); }
  std::int64_t updates() const { return updates_; }  // AdamW's step count, for bias correction
  void set_updates(std::int64_t updates) { updates_ = updates; }

  parallel::ExchangeQueue::Counters exchange() const { return queue_->counters(); }

  // Bytes that this rank sent since the start, with activations over the tensor and context axes if
  // the mesh has them.
  parallel::AxisBytes bytes_sent() const;
  // Bytes held here besides the parameters, between steps.
  struct Bytes {
    std::int64_t moments = 0, gradients = 0, gathered = 0, exchange = 0;
  };
  Bytes bytes() const;

  // This rank's part of the last step's summed gradient: the elements of the unit's buffer from
  // part_begin() on. For tests.
  tensor::Tensor gradient_part(std::size_t unit) { return gradients_.part(unit); }
  std::int64_t part_begin(std::size_t unit) const { return gradients_.shard(unit).begin; }

 private:
  struct Moments {
    tensor::Buffer first, second;  // of this rank's part
  };
  double squares_of_column();
  OptimizerConfig config_;
  model::TrainingParameters& parameters_;
  const parallel::Mesh& mesh_;
  std::vector<parallel::UnitShard> shards_;
  parallel::GradientSum gradients_;
  parallel::ParameterShards parameter_shards_;
  std::vector<Moments> moments_;
  std::int64_t updates_ = 0;
  std::unique_ptr<parallel::ExchangeQueue> queue_;  // last: it ends before the buffers it uses
};

}  // namespace eyrie::trainer
