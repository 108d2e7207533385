// Runs that would not fit the memory are refused before they begin.
#pragma once

#include <string>

#include "trainer/plan.h"

namespace eyrie::trainer {

// InputError when a rank would need more than the run's `memory_limit`: how much for what, and the
// nearest meshes that fit.
void check_memory(const RunConfig& run, const parallel::MeshShape& mesh);

// Without a limit: what to tell people when `ranks_here` such ranks need more than this host has
// free, or "".
std::string memory_warning(const RunConfig& run, const parallel::MeshShape& mesh, int ranks_here);

}  // namespace eyrie::trainer
