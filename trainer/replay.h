// A past step of a run again, bit for bit, from the checkpoint before it: what was in the batch,
// and what it did. Writes nothing.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "parallel/communication/communicator.h"
#include "trainer/take_step.h"
#include "trainer/trainer.h"

namespace eyrie::trainer {

// A part of the batch that is of one document.
struct ReplayedDocument {
  data_pipeline::RowOrigin origin;
  std::int64_t micro_shard = 0, targets = 0;
  double nll = 0;  // Σ −log p of its targets, before the step
  std::vector<std::int32_t> tokens;
  double loss() const { return targets > 0 ? nll / static_cast<double>(targets) : 0; }
};

struct Replay {
  std::string stage;
  std::int64_t step = 0,
               from = 0;   // from: the step of the checkpoint it began with; 0: the beginning
  std::int64_t batch = 0;  // number of the batch in its stage
  TakenStep taken;
  // What metrics.jsonl says of this step, if it has it.
  std::optional<double> recorded_loss, recorded_grad_norm;
  std::vector<std::pair<std::string, double>> by_source;   // loss
  std::vector<ReplayedDocument> documents;                 // on the first rank, in their order
  std::vector<std::pair<std::string, double>> grad_norms;  // by parameter, before clipping
};

// Collective, on any number of ranks that fits. `run` as it ran (RUN/run.yaml). Throws InputError
// if the run has no such step, and Error if it rolled back on the way there, which cannot be
// repeated.
Replay replay_step(const RunConfig& run, parallel::Communicator& world, std::int64_t step);

}  // namespace eyrie::trainer
