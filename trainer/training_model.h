// The model of a run on its mesh: weights, optimizer, and a step's loss and gradients.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "data_pipeline/batch_stream.h"
#include "model/griffin.h"
#include "parallel/sharding/mesh.h"
#include "trainer/objectives/objective.h"
#include "trainer/optimizer.h"
#include "trainer/run_config.h"

namespace eyrie::trainer {

// The result of one step, the same on all ranks unless noted.
struct StepResult {
  // The objective's numbers over the global batch, each divided by the stream's target_count(); the
  // first is the loss (next_token: nats per target token).
  std::vector<double> metrics;
  double loss = 0;
  double grad_norm = 0;
  bool stop = false;      // some rank was asked to stop
  double memory_mb = 0;   // peak memory of the rank that needs most
  double data_s = 0;      // of this rank: reading batches
  double exchange_s = 0;  // of this rank: waiting for gradients
  // Sent by all ranks together, for parameters before the step and for its gradients.
  double exchange_bytes = 0;
};

class TrainingModel {
 public:
  // Collective. `world` must outlive the model.
  TrainingModel(const RunConfig& run, parallel::Communicator& world,
                const parallel::MeshShape& shape);

  // Collective. Runs the objective on batch number `batch` of the stream, summed over micro-shards
  // and ranks. update() comes next, unless the step is to be skipped. `stop` is asked at the end
  // whether this rank is to stop. `gain` multiplies the batch's loss (tests make outliers with it).
  StepResult forward_backward(const Objective& objective, const data_pipeline::BatchStream& stream,
                              std::int64_t micro_shards, std::int64_t batch,
                              const std::function<bool()>& stop, double gain = 1);

  // Collective. Returns the seconds that this rank waited for others.
  double update(double learning_rate, double grad_norm);

  // Collective. Initialises the parameters of a new run, or all-gathers them after each rank has
  // loaded its own.
  void initialise(std::uint64_t seed);
  void all_gather_parameters();

  // Collective. Fingerprint of all current parameters (model/weights/fingerprint.h).
  std::string weights_fingerprint() const;

  const parallel::Mesh& mesh() const { return mesh_; }
  const model::Griffin& griffin() const { return griffin_; }
  // The same weights, but whole sequences on every context rank: for evaluation.
  const model::Griffin& evaluation_model() const { return evaluation_model_; }
  model::TrainingParameters& parameters() { return parameters_; }
  Optimizer& optimizer() { return optimizer_; }
  model::Workspace& workspace() { return workspace_; }

 private:
  parallel::Mesh mesh_;
  model::Griffin griffin_, evaluation_model_;
  model::TrainingParameters parameters_;
  model::Workspace workspace_;
  std::int64_t all_gather_bytes_ = 0;  // sent by this rank after the last step
  Optimizer optimizer_;                // last: its exchange ends before what it uses
};

}  // namespace eyrie::trainer
