// Plans a run on a mesh before it starts: the memory of a rank, the time of a step, and the best
// meshes.
#pragma once

#include <string>
#include <vector>

#include "planning/machine.h"
#include "planning/mesh_plan.h"
#include "trainer/run_config.h"

namespace eyrie::planning {

using trainer::RunConfig;
using trainer::StageConfig;

StepShape step_shape(const RunConfig& run, const StageConfig& stage,
                     const parallel::MeshShape& mesh);

// The run with `recompute: auto` decided for a mesh: the least computation for which a rank needs
// at most `most` bytes (0: no limit), or if nothing does the least memory.
RunConfig with_recompute(const RunConfig& run, const parallel::MeshShape& mesh, std::int64_t most);
RunConfig with_recompute(const RunConfig& run, const parallel::MeshShape& mesh, std::int64_t most,
                         const std::shared_ptr<PassPlans>& passes);

// Returns the memory of the rank and stage that need most. Includes validation, if the run has it:
// its whole sequences may need more than the pieces of training.
RankMemory memory_needed(const RunConfig& run, const parallel::MeshShape& mesh);
// The same for a search among meshes, by a few ranks of each. `passes`: of the run's model.
RankMemory memory_needed(const RunConfig& run, const parallel::MeshShape& mesh,
                         const std::shared_ptr<PassPlans>& passes, int all_up_to = 8);

// The parts of memory by purpose, largest first; parts of 0 bytes are left out.
struct MemoryPart {
  std::string name;
  std::int64_t bytes;
  const char* note;
};
std::vector<MemoryPart> memory_parts(const RankMemory& memory);

// FLOPs of a step on all ranks: 6 per weight and token, and attention (model/model_statistics.h).
double step_flops(const RunConfig& run, const StepShape& shape);

// Seconds per step, as in docs/planning.md.
struct StepTime {
  double products = 0;                // matrix products
  double elementwise = 0;             // activations through memory
  double update = 0;                  // the optimizer, and sums of micro-shards
  double tensor = 0, context = 0;     // activations between ranks: layers wait for them
  double gradients = 0, fetches = 0;  // overlapped with computation; ZeRO 3's parameters
  double waiting = 0;                 // the part of these two that computation does not hide
  double gather = 0;                  // parameters after the step (ZeRO 1 and 2)
  double all() const {
    return products + elementwise + update + tensor + context + waiting + gather;
  }
};
StepTime step_time(const RunConfig& run, const MeshPlan& plan, const Machine& machine);

// Returns the bytes per axis of the rank that sends most.
parallel::AxisBytes most_sent(const MeshPlan& plan);

struct Candidate {
  parallel::MeshShape mesh;
  std::int64_t memory;  // of the rank that needs most
  StepTime time;        // of the stage
};
// Returns meshes of `ranks` ranks with every ZeRO stage, with and without `sequence`, whose memory
// is at most `limit` (0: any), fastest first.
std::vector<Candidate> best_meshes(const RunConfig& run, const StageConfig& stage, int ranks,
                                   const Machine& machine, std::int64_t limit);

}  // namespace eyrie::planning
