// Which meshes a run fits: ranks, model, micro-shards, sequences.
#pragma once

#include <string>
#include <vector>

#include "parallel/mesh.h"
#include "trainer/run_config.h"

namespace eyrie::trainer {

// Why the run cannot have this mesh (every number given), or "".
std::string misfit(const RunConfig& run, const parallel::MeshShape& shape);

// The run's mesh on so many ranks and hosts, `auto` and `nodes` put in. InputError: what does not
// fit, with the numbers and the nearest meshes that do.
parallel::MeshShape fit_mesh(const RunConfig& run, int ranks, int hosts);

// All data × context × tensor that fill the ranks and fit, the nearest to `wanted` first.
std::vector<parallel::MeshShape> fitting_meshes(const RunConfig& run, int ranks,
                                                const parallel::MeshShape& wanted);

}  // namespace eyrie::trainer
