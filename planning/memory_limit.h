// Rejects runs that would not fit the memory, before they start.
#pragma once

#include <string>

#include "base/host_memory.h"
#include "planning/plan.h"
#include "trainer/trainer.h"

namespace eyrie::planning {

// Throws InputError if a rank would need more than the run's `memory_limit`: says how much for
// what, and the nearest meshes that fit.
void check_memory(const RunConfig& run, const parallel::MeshShape& mesh);

// Checks whether `ranks_here` such ranks fit the memory of one host. Throws InputError if they need
// more than it has, unless the run has a memory_limit (which takes precedence: the user knows
// better) or is planned for hosts `elsewhere`. Returns a warning in these cases, and if they need
// more than is free now; else "".
std::string check_host_memory(const RunConfig& run, const parallel::MeshShape& mesh,
                              const base::HostMemory& host, int ranks_here, bool elsewhere);

// All of it, for trainer::TrainOptions.
trainer::PlannedMemory plan_memory(const RunConfig& run, const parallel::MeshShape& mesh,
                                   int ranks_here, bool elsewhere);

}  // namespace eyrie::planning
