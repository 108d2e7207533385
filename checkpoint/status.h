// Information on the checkpoints of a run: which exist, what each holds, and whether it is valid.
// Changes nothing.
#pragma once

#include <cstdint>
#include <ctime>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/list.h"

namespace eyrie::checkpoint {

struct CheckpointStatus {
  CheckpointInfo info;
  std::string stage;  // its name; "" if it cannot be opened or was not written by a run
  std::string ranks;  // that wrote it, and their mesh if it is known: "4 (data 2, tensor 2)"
  std::optional<double> validation_loss;
  std::uint64_t bytes = 0;             // of its files
  std::optional<std::time_t> written;  // when the manifest was written; nullopt without one
  std::string fault;                   // why it cannot be opened; "" if it can, or is unfinished
  bool readable = true;                // false: the disk or its permissions are at fault
  bool newest = false, best = false;   // among those that can be opened; best by validation loss
};

// Returns them by step, oldest first. Opens each, which checks everything except the data.
std::vector<CheckpointStatus> describe_checkpoints(const base::Path& run_directory);

// Returns the checkpoints of a run's folder, or the one checkpoint if `place` is its folder. Throws
// InputError for any other place, and for a run without checkpoints.
std::vector<CheckpointInfo> checkpoints_at(const base::Path& place);

// Returns everything that is wrong with a checkpoint, verifying every checksum; empty if it is
// valid. Each message names the file, and the tensor if its data is wrong.
std::vector<std::string> faults_of(const base::Path& checkpoint);

// Returns the bytes of all files below a folder, 0 if it does not exist.
std::uint64_t bytes_below(const base::Path& directory);

}  // namespace eyrie::checkpoint
