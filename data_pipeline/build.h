// `eyrie data build`: documents → filters → exclusion → tokens → shards, using all ranks.
#pragma once

#include "data_pipeline/data_config.h"
#include "data_pipeline/dataset.h"
#include "parallel/communication/communicator.h"
#include "text/task.h"

namespace eyrie::data_pipeline {

// Collective. All ranks must see the same folders. Returns the same summary on every rank.
//
// The lines of each file are cut into blocks of about 2 MB, which are dealt out to the ranks. (A
// plain-text file is one block and one document.) The documents of a block become one part file. A
// shard consists of the parts of consecutive blocks; it ends with the part that brings it to
// `shard_tokens`. So the bytes of the shards depend only on the input and the settings, never on
// the number of ranks. Everything that decides them goes into one hash, `build`. When a build is
// started again, parts and shards with the same hash are kept and others are replaced.
//
// Throws InputError at a bad line (file:line:column), a missing field, a missing file or an unknown
// task. Progress goes to the log.
Dataset build_dataset(const DataConfig& config, const text::TaskPlaces& places,
                      parallel::Communicator& communicator);

}  // namespace eyrie::data_pipeline
