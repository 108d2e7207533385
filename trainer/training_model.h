// The model of a run on its mesh: weights, optimizer, and a step's loss and gradients.
#pragma once

#include <cstdint>
#include <memory>

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
};

class TrainingModel {
 public:
  // Collective. `world` must outlive the model.
  TrainingModel(const RunConfig& run, parallel::Communicator& world,
                const parallel::MeshShape& shape);

  // Collective: batch number `batch` of the stream, forward and backward, summed over micro-shards
  // and ranks; the optimizer then waits for apply(). `stop`: this rank is asked to stop. `gain`
  // multiplies the batch's loss (tests make outliers with it).
  StepGradients gradients(const data_pipeline::BatchStream& stream, std::int64_t micro_shards,
                          std::int64_t batch, bool stop, double gain = 1);

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
  Optimizer optimizer_;  // last: its exchange ends before what it works on goes
};

}  // namespace eyrie::trainer
