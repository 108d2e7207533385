// What a run was given, for ranks to compare: each may lie on another node's own disk.
#pragma once

#include "parallel/same.h"
#include "trainer/run_data.h"
#include "trainer/trainer.h"

namespace eyrie::trainer {

// The version of Eyrie, the command's flags, and every key of the configuration. Where evaluation
// data lies may differ between nodes, and so may the words for the run's folder: that it is one
// and the same is seen by TrainingRun::own().
parallel::Facts start_facts(const RunConfig& run, const TrainOptions& options);

// Tokenizer, shards of every stage, task files and evaluation data, by their contents.
parallel::Facts data_facts(const RunConfig& run, const RunData& data);

}  // namespace eyrie::trainer
