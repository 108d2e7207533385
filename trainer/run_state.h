// What a checkpoint stores of its run besides the tensors: its position and its identity. The one
// place that writes and reads the state of a manifest.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/reader.h"
#include "data_pipeline/shard_set.h"
#include "parallel/sharding/unit.h"
#include "trainer/run_config.h"

namespace eyrie::trainer {

// How often the run rolled back, and to where. Step 0: none.
struct RollBacks {
  std::int64_t target = 0;      // the checkpoint to roll back to from here; -1: not known
  std::int64_t tries = 0;       // roll-backs since the last step that was not skipped
  std::int64_t last = 0;        // the checkpoint of the last roll-back
  std::int64_t times_last = 0;  // roll-backs to it so far
};

// The position after `step` steps in all, `stage_step` of them in stage `stage`.
struct RunPosition {
  std::int64_t step = 0;
  std::size_t stage = 0;
  std::int64_t stage_step = 0;   // drives the schedule, and with data_offset the data
  std::int64_t data_offset = 0;  // batches skipped by roll-backs
  std::int64_t tokens = 0;
  std::int64_t updates = 0;               // AdamW's step count
  std::optional<double> validation_loss;  // nullopt if this step was not validated
  std::vector<double> outliers = {0};     // OutlierDetector::state()
  RollBacks roll_backs;
  std::int64_t ranks = 0;       // that wrote it; set by position_in() only
  bool validation_due = false;  // a stop came before this step's validation
};

// What must be the same for a run to resume, and the resources it runs on.
struct RunIdentity {
  const RunConfig& run;
  std::string tokenizer_hash;
  std::vector<std::string> data;  // fingerprints by stage
  int threads = 1;                // per rank; like the mesh, stored for information only
  parallel::MeshShape mesh;
  std::vector<const data_pipeline::ShardSet*> shards = {};  // by stage
};

std::string state_json(const RunPosition& position, const RunIdentity& identity);

// Returns the position that a checkpoint holds. Throws InputError, naming the difference, if the
// checkpoint is of another model, seed, tokenizer, data or list of stages, or if its state is
// incomplete or contradicts itself. What may change between two starts but affects the numbers
// (precision, other keys of the configuration, sources and their weights) is added to `warnings`.
// The data differs if a source in use now had other documents then, or if none of the sources
// existed then.
RunPosition position_in(const checkpoint::CheckpointReader& checkpoint, const RunIdentity& identity,
                        std::vector<std::string>& warnings);

// Checks that the checkpoint has every parameter and both of its moments, each of the model's
// shape. Throws InputError naming the first one that is missing or different.
void check_tensors(const checkpoint::CheckpointReader& checkpoint,
                   const std::vector<parallel::Unit>& units);

}  // namespace eyrie::trainer
