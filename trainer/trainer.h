// The training loop: stages, steps, validation, checkpoints, resumption, and the stop on request.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/file.h"
#include "model/griffin.h"
#include "model/language_model.h"
#include "parallel/communicator.h"
#include "parallel/mesh.h"
#include "text/tokenizer.h"
#include "trainer/run_config.h"

namespace eyrie::trainer {

struct TrainOptions {
  bool fresh = false;  // refuse to touch a run that is there
  bool check = false;  // validate everything, then stop; no model is made
  // With `check`: of the job that is to come, on how many hosts; 0: of this one.
  int ranks = 0, hosts = 0;
  std::int64_t stop_after =
      0;  // steps of this process, then save and stop as on a signal; 0: never
  // For tests: multiplies the loss of a batch (its number in the stage); the same on all ranks.
  std::function<double(std::int64_t batch)> gain = {};
};

enum class Outcome { kDone, kStopped };

// The end of a stage that evaluates.
struct StageEnd {
  const StageConfig& stage;
  const text::Tokenizer& tokenizer;
  // The ranks among which the work is to be shared out (tensor ranks of one share do the same work
  // together).
  const parallel::Mesh& mesh;
  base::Path directory;   // runs/NAME/eval/STAGE
  std::int64_t step = 0;  // of the run
  std::string precision;  // "fp32", "bf16"
  std::string weights;    // their fingerprint
  // As it is now; null where the training has gone on since: then there is nothing to do but to
  // look at the results.
  model::LanguageModel* model = nullptr;
};

// Called on all ranks at the end of a stage that evaluates, and at a start for those that lie
// behind. False: a request to stop ended it before it was done, and what is done is kept. The one
// place where evaluation meets training; cli/ provides it.
using AfterStage = std::function<bool(const StageEnd& end)>;

// Collective. Goes on from the newest valid checkpoint of the run directory, if there is one.
// Errors: InputError for what does not fit (mesh, data, checkpoint of another model), Error for
// what fails on the way (disk, a loss that is not finite).
Outcome train(const RunConfig& config, parallel::Communicator& world, const TrainOptions& options,
              const AfterStage& after_stage);

// Threads for this rank: as configured, else as EYRIE_THREADS or OMP_NUM_THREADS say, else its
// share of the cores that ranks of its host may use (tensor/cores.h). Collective.
int threads_for(std::int64_t configured, parallel::Communicator& world);

}  // namespace eyrie::trainer
