// Which meshes fit a run: its ranks, model, micro-shards and sequences.
#pragma once

#include <string>
#include <vector>

#include "parallel/sharding/mesh.h"
#include "trainer/run_config.h"

namespace eyrie::trainer {

// Returns why the run cannot use this mesh (with all numbers set), or "".
std::string mesh_error(const RunConfig& run, const parallel::MeshShape& shape);

// Returns the run's mesh for this many ranks and hosts, with `auto` and `nodes` resolved. Throws
// InputError saying what does not fit, with the numbers and the nearest meshes that do.
parallel::MeshShape resolve_mesh(const RunConfig& run, int ranks, int hosts);

// Returns all data × context × tensor that use all ranks and fit, nearest to `wanted` first.
std::vector<parallel::MeshShape> fitting_meshes(const RunConfig& run, int ranks,
                                                const parallel::MeshShape& wanted);

}  // namespace eyrie::trainer
