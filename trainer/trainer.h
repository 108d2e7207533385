// The training loop: stages, steps, validation, checkpoints, resuming, and stopping on request.
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
#include "model/parameters.h"
#include "parallel/communication/communicator.h"
#include "parallel/sharding/mesh.h"
#include "text/tokenizer.h"
#include "trainer/run_config.h"

namespace eyrie::trainer {

// What planning says of a run before it starts: the bytes that its largest rank will need, a
// warning, or "", and what of the activations it computes again (`recompute: auto` is decided
// here). Throws InputError if that does not fit. `ranks_here`: on this host; `elsewhere`:
// the job is to run on other hosts. cli/ provides it (planning/memory_limit.h).
struct PlannedMemory {
  std::int64_t bytes = 0;
  std::string warning;
  model::Recompute recompute = model::Recompute::kNone;
};
using PlanMemory = std::function<PlannedMemory(
    const RunConfig& run, const parallel::MeshShape& mesh, int ranks_here, bool elsewhere)>;

struct TrainOptions {
  bool fresh = false;  // refuse to touch an existing run
  bool check = false;  // check everything, then stop; no model is created
  // With `check`: the ranks and hosts of the planned job; 0: those of this one.
  int ranks = 0, hosts = 0;
  PlanMemory plan_memory = {};   // empty: any run is let start
  std::string until_stage = {};  // end after this stage and its evaluation; empty: after the last
  base::Path local_shards = {};  // copy the shards here first, once per node; empty: no
  std::int64_t stop_after = 0;   // save and stop after so many steps here, as on a signal; 0: never
  // For tests: the factor for the loss of a batch, by its number in the stage; the same on all
  // ranks.
  std::function<double(std::int64_t batch)> gain = {};
  // For tests: called on every rank before a step, to damage what it computes with.
  std::function<void(std::int64_t step, int rank, const model::Parameters& parameters)> damage = {};
};

enum class Outcome { kDone, kStopped };

// The end of a stage that has evaluation tasks.
struct StageEnd {
  const StageConfig& stage;
  const text::Tokenizer& tokenizer;
  // The ranks over which the work is divided (the tensor ranks of a group do the same work
  // together).
  const parallel::Mesh& mesh;
  base::Path directory;   // runs/NAME/eval/STAGE
  std::int64_t step = 0;  // of the run
  std::string precision;  // "fp32", "bf16"
  std::string weights;    // their fingerprint
  // The current model; null if training has gone on since: then only the results can be looked at.
  model::LanguageModel* model = nullptr;
};

// Called on all ranks at the end of a stage that has evaluation tasks, and at the start of a
// resumed run for earlier ones. Returns false if a stop request ended it early; what is done is
// kept. The one place where evaluation meets training; cli/ provides it.
using AfterStage = std::function<bool(const StageEnd& end)>;

// Collective. Resumes from the newest valid checkpoint of the run directory, if there is one.
// Throws InputError for what does not fit (mesh, data, checkpoint of another model), and Error for
// what fails during training (disk, a loss that is not finite).
Outcome train(const RunConfig& config, parallel::Communicator& world, const TrainOptions& options,
              const AfterStage& after_stage);

// Returns the threads for this rank: as configured, else from EYRIE_THREADS or OMP_NUM_THREADS,
// else its share of the cores that the ranks of its host may use (tensor/cores.h). Collective.
int threads_for(std::int64_t configured, parallel::Communicator& world);

// Throws InputError if the configured threads are many times this machine's processors, unless the
// run is only checked here; returns a warning if they are more, else "".
std::string check_threads(const RunConfig& run, bool check_only);

}  // namespace eyrie::trainer
