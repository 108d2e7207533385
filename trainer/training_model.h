// The model of a run on its mesh: weights, optimizer, and a step's loss and gradients.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "data_pipeline/stream.h"
#include "model/griffin.h"
#include "parallel/mesh.h"
#include "trainer/optimizer.h"
#include "trainer/run_config.h"

namespace eyrie::trainer {

// Of one step, the same on all ranks.
struct StepGradients {
  double loss = 0;  // nats per target token over the global batch
  double grad_norm = 0;
  bool stop = false;      // some rank was asked to stop
  double memory_mb = 0;   // the largest peak of a rank
  double data_s = 0;      // of this rank: spent on batches
  double exchange_s = 0;  // of this rank: waited for gradients
  // Sent by all ranks together, for parameters before the step and for its gradients.
  double exchange_bytes = 0;
};

class TrainingModel {
 public:
  // Collective. `world` must outlive the model.
  TrainingModel(const RunConfig& run, parallel::Communicator& world,
                const parallel::MeshShape& shape);

  // Collective: batch number `batch` of the stream, forward and backward, summed over micro-shards
  // and ranks; then update(), unless the step is to be skipped. `stop`: this rank is asked to stop.
  // `gain` multiplies the batch's loss (tests make outliers with it).
  StepGradients gradients(const data_pipeline::BatchStream& stream, std::int64_t micro_shards,
                          std::int64_t batch, bool stop, double gain = 1);

  // Collective. Returns the seconds that this rank waited for others.
  double update(double learning_rate, double grad_norm);

  // Collective: the parameters as a run begins with them, or as this rank's were loaded.
  void initialise(std::uint64_t seed);
  void share();

  // Collective: of all parameters as they are (model/weights/fingerprint.h).
  std::string weights_fingerprint() const;

  const parallel::Mesh& mesh() const { return mesh_; }
  const model::Griffin& griffin() const { return griffin_; }
  // The same weights, but whole sequences on every context rank: for evaluation.
  const model::Griffin& reader() const { return reader_; }
  model::Parameters& parameters() { return parameters_; }
  Optimizer& optimizer() { return optimizer_; }
  model::Workspace& workspace() { return workspace_; }

 private:
  parallel::Mesh mesh_;
  model::Griffin griffin_, reader_;
  model::Parameters parameters_;
  model::Workspace workspace_;
  std::int64_t renewal_bytes_ = 0;  // sent by this rank after the last step
  Optimizer optimizer_;             // last: its exchange ends before what it works on goes
};

}  // namespace eyrie::trainer
