// The inputs of a run, for ranks to compare: each rank may have read them from its own node's disk.
#pragma once

#include "parallel/communication/same.h"
#include "trainer/run_data.h"
#include "trainer/trainer.h"

namespace eyrie::trainer {

// The version of Eyrie, the command's flags, and every key of the configuration, except the paths
// of evaluation data and of the run's folder, which may differ between nodes.
// (OpenRun::claim_folder() checks that the folder is the same.)
parallel::Facts start_facts(const RunConfig& run, const TrainOptions& options);

// Tokenizer, shards of every stage, task files and evaluation data, by their contents.
parallel::Facts data_facts(const RunConfig& run, const RunData& data);

}  // namespace eyrie::trainer
