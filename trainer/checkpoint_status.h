// What people ask about the checkpoints of a run: which there are, what each holds, and whether it
// is sound. Looks only; changes nothing.
#pragma once

#include <cstdint>
#include <ctime>
#include <optional>
#include <string>
#include <vector>

#include "trainer/checkpoint.h"

namespace eyrie::trainer {

struct CheckpointStatus {
  CheckpointInfo info;
  std::string stage;  // its name; "" where it cannot be opened, or was not written by a run
  std::string
      ranks;  // that wrote it, and their mesh where the state names one: "4 (data 2, tensor 2)"
  std::optional<double> validation_loss;
  std::uint64_t bytes = 0;             // of its files
  std::optional<std::time_t> written;  // when the manifest was; none without one
  std::string fault;                   // why it cannot be opened; "" where it can, or is unfinished
  bool readable = true;                // false: the disk or its permissions are at fault
  bool newest = false, best = false;   // of those that can be opened; best by validation loss
};

// By step, oldest first. Opens each, which checks everything but the data.
std::vector<CheckpointStatus> describe_checkpoints(const base::Path& run_directory);

// The checkpoints of a run's folder, or the one whose folder is named. InputError for another
// place, and for a run without any.
std::vector<CheckpointInfo> checkpoints_at(const base::Path& place);

// Everything that is wrong with one checkpoint: compares every checksum. Empty: it is sound. Each
// message names the file, and the tensor where it is one's data.
std::vector<std::string> faults_of(const base::Path& checkpoint);

// Bytes of all files below a folder, 0 where there is none.
std::uint64_t bytes_below(const base::Path& directory);

}  // namespace eyrie::trainer
