// The parts of `eyrie plan` that look for the best mesh, and how it writes times.
#pragma once

#include <string>

#include "planning/plan.h"

namespace eyrie::cli {

std::string seconds_text(double seconds);   // of a step: "12.345 ms", "1.23 s"
std::string duration_text(double seconds);  // of a stage or a run: "3.2 days"
double tokens_per_step(const trainer::StageConfig& stage);

// Print the best meshes of `ranks` ranks in the run's first stage. Throw InputError if none fits
// the run or its memory_limit.
void print_best_meshes(const trainer::RunConfig& run, int ranks, const planning::Machine& machine);
void print_best_meshes_json(const trainer::RunConfig& run, int ranks,
                            const planning::Machine& machine);

// Prints, for each way to split the `cores` of a node like this one into ranks and threads, the
// best mesh on `nodes` nodes. The speed of each split is measured here, about a second each. Throws
// InputError if this process may use fewer cores.
void print_splits(const trainer::RunConfig& run, int cores, int nodes, bool as_json);

}  // namespace eyrie::cli
