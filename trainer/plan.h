// A run on a mesh, before it is started: what a rank needs, what a step costs, and which meshes do
// it best.
#pragma once

#include <string>
#include <vector>

#include "trainer/machine.h"
#include "trainer/mesh_plan.h"
#include "trainer/run_config.h"

namespace eyrie::trainer {

StepShape step_shape(const RunConfig& run, const StageConfig& stage,
                     const parallel::MeshShape& mesh);

// Of the rank and stage that need most. Validation, where the run has it, counts too: its whole
// sequences may need more than the pieces of training.
RankMemory memory_needed(const RunConfig& run, const parallel::MeshShape& mesh);

// What memory is for, largest first; parts of 0 bytes are left out.
struct MemoryPart {
  std::string name;
  std::int64_t bytes;
  const char* note;
};
std::vector<MemoryPart> memory_parts(const RankMemory& memory);

// FLOPs of a step on all ranks: 6 a weight and token, and attention (model/size.h).
double step_flops(const RunConfig& run, const StepShape& shape);

// Seconds of a step, by docs/planning.md.
struct StepTime {
  double products = 0;                // FLOPs
  double elementwise = 0;             // activations through memory
  double update = 0;                  // the optimizer, and sums of micro-shards
  double tensor = 0, context = 0;     // activations between ranks: layers wait for them
  double gradients = 0, fetches = 0;  // beside the backward pass, and ZeRO 3's parameters
  double waiting = 0;                 // what of these two the computation does not hide
  double gather = 0;                  // parameters after the step (ZeRO 1 and 2)
  double all() const {
    return products + elementwise + update + tensor + context + waiting + gather;
  }
};
StepTime step_time(const RunConfig& run, const MeshPlan& plan, const Machine& machine);

// The axes' bytes of the rank that sends most.
parallel::AxisBytes most_sent(const MeshPlan& plan);

struct Candidate {
  parallel::MeshShape mesh;
  std::int64_t memory;  // of the largest rank
  StepTime time;        // of the stage
};
// Meshes of so many ranks with every stage of ZeRO, with and without `sequence`, whose memory is at
// most `limit` (0: any), the fastest first.
std::vector<Candidate> best_meshes(const RunConfig& run, const StageConfig& stage, int ranks,
                                   const Machine& machine, std::int64_t limit);

}  // namespace eyrie::trainer
