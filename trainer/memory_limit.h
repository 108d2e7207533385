// Runs that would not fit the memory, or the processors, are refused before they begin.
#pragma once

#include <string>

#include "base/host_memory.h"
#include "trainer/plan.h"

namespace eyrie::trainer {

// InputError when a rank would need more than the run's `memory_limit`: how much for what, and the
// nearest meshes that fit.
void check_memory(const RunConfig& run, const parallel::MeshShape& mesh);

// Whether `ranks_here` such ranks fit the memory of one host. InputError when they need more than
// it has, unless the run has a memory_limit (which is believed: the user knows better) or is
// planned for hosts `elsewhere`; then, and when less than that is left now, what to tell people.
// "": nothing.
std::string check_host_memory(const RunConfig& run, const parallel::MeshShape& mesh,
                              const base::HostMemory& host, int ranks_here, bool elsewhere);

// The same for `threads`: InputError for many times as many as this machine has processors, unless
// the run is only checked here; a warning for more.
std::string check_threads(const RunConfig& run, bool check_only);

}  // namespace eyrie::trainer
