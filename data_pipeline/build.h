// `eyrie data build`: documents → filters → exclusion → tokens → shards, on all ranks.
#pragma once

#include "data_pipeline/data_config.h"
#include "data_pipeline/dataset.h"
#include "parallel/communicator.h"
#include "text/task.h"

namespace eyrie::data_pipeline {

// Collective; every rank sees the same folders. Returns the same summary on all ranks.
//
// The lines of every file are cut into blocks of about 2 MB, which are dealt to the ranks (a plain
// text is one block, and one document); a block's documents become a part file; a shard is the
// parts of consecutive blocks, closed by the part that brings it to `shard_tokens`. So the shards'
// bytes depend on the input and the settings alone, never on the number of ranks. What decides them
// goes into one hash, `build`: parts and shards with the same hash are kept when a build is started
// again, others are replaced.
//
// InputError: a bad line (file:line:column), a missing field, no file, an unknown task. Progress
// goes to the log.
Dataset build_dataset(const DataConfig& config, const text::TaskPlaces& places,
                      parallel::Communicator& communicator);

}  // namespace eyrie::data_pipeline
