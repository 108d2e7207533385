// Rejects runs that would not fit the memory or the processors, before they start.
#pragma once

#include <string>

#include "base/host_memory.h"
#include "trainer/plan.h"

namespace eyrie::trainer {

// Throws InputError if a rank would need more than the run's `memory_limit`: says how much for
// what, and the nearest meshes that fit.
void check_memory(const RunConfig& run, const parallel::MeshShape& mesh);

// Checks whether `ranks_here` such ranks fit the memory of one host. Throws InputError if they need
// more than it has, unless the run has a memory_limit (which takes precedence: the user knows
// better) or is planned for hosts `elsewhere`. Returns a warning in these cases, and if they need
// more than is free now; else "".
std::string check_host_memory(const RunConfig& run, const parallel::MeshShape& mesh,
                              const base::HostMemory& host, int ranks_here, bool elsewhere);

// The same for `threads`: throws InputError if they are many times this machine's processors,
// unless the run is only checked here; returns a warning if they are more.
std::string check_threads(const RunConfig& run, bool check_only);

}  // namespace eyrie::trainer
