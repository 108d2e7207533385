// What a checkpoint says of its run besides the tensors: where it stands, and what it was a run of.
// The one place that writes and reads the state of a manifest.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "data_pipeline/shard_set.h"
#include "parallel/unit.h"
#include "trainer/checkpoint.h"
#include "trainer/run_config.h"

namespace eyrie::trainer {

// How often the run went back, and where to. Steps of 0: none.
struct RollBacks {
  std::int64_t target = 0;      // the checkpoint to go back to from here; -1: not known
  std::int64_t tries = 0;       // since a step was last learnt from
  std::int64_t last = 0;        // the checkpoint that was gone back to last
  std::int64_t times_last = 0;  // how often in all
};

// After `step` steps in all, `stage_step` of them in stage `stage`.
struct RunPosition {
  std::int64_t step = 0;
  std::size_t stage = 0;
  std::int64_t stage_step = 0;   // drives the schedule, and with data_offset the data
  std::int64_t data_offset = 0;  // batches passed over by roll-backs
  std::int64_t tokens = 0;
  std::int64_t updates = 0;               // AdamW's own count of steps
  std::optional<double> validation_loss;  // none where this step was not validated
  std::vector<double> outliers = {0};     // Outliers::state()
  RollBacks roll_backs;
  std::int64_t ranks = 0;       // that wrote it; of position_in() alone
  bool validation_due = false;  // this step is still to be validated: a stop came
};

// What must be the same for a run to go on as itself, and who computes it.
struct RunIdentity {
  const RunConfig& run;
  std::string tokenizer_hash;
  std::vector<std::string> data;  // fingerprints by stage
  int threads = 1;                // of a rank; with the mesh, for the reader alone
  parallel::MeshShape mesh;
  std::vector<const data_pipeline::ShardSet*> shards = {};  // by stage
};

std::string state_json(const RunPosition& position, const RunIdentity& identity);

// The position that a checkpoint holds. InputError, naming what it is, for a checkpoint of another
// model, seed, tokenizer, data or list of stages, and for a state that misses something or
// contradicts itself. What may change between two starts but changes the numbers (precision, other
// keys of the configuration, sources and their weights) is added to `warnings`. The data is another
// one where a source that is drawn on now had other documents then, or none of them was there.
RunPosition position_in(const CheckpointReader& checkpoint, const RunIdentity& identity,
                        std::vector<std::string>& warnings);

// That the checkpoint has every parameter and both of its moments, each of the model's shape.
// InputError names the first one that is missing or different.
void check_tensors(const CheckpointReader& checkpoint, const std::vector<parallel::Unit>& units);

}  // namespace eyrie::trainer
