// A new run that goes on from a checkpoint of another (docs/checkpoints.md).
#pragma once

#include <cstdint>

#include "trainer/run_config.h"

namespace eyrie::trainer {

// Gives `run`, whose folder must have no checkpoints yet, the checkpoint of step `step` of the run
// in `trunk`, as its own: hard links to the files where possible (a checkpoint's files never
// change), else copies; and the trunk's metrics up to that step. branch.json says where it came
// from. Every checksum is compared first. Throws InputError, and leaves the folder as it was, if
// there is no such checkpoint, if it is damaged, or if the run cannot go on from it (another model,
// tokenizer, seed, data, or list of stages: what resuming checks).
void branch_run(const base::Path& trunk, std::int64_t step, const RunConfig& run);

}  // namespace eyrie::trainer
