// The checkpoints of a run: which exist, and the newest valid one.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/file.h"
#include "parallel/communication/communicator.h"

namespace eyrie::checkpoint {

// runs/NAME/checkpoints/step-00000200
base::Path checkpoint_path(const base::Path& run_directory, std::int64_t step);

struct CheckpointInfo {
  base::Path path;
  std::int64_t step;
  bool complete;  // has a manifest; nothing else is checked
};

// Returns checkpoints by step, oldest first; empty if the directory does not exist.
std::vector<CheckpointInfo> list_checkpoints(const base::Path& checkpoints_directory);

// For commands that read a run: returns its newest valid checkpoint and logs those that it skipped.
// Throws InputError if there is none.
base::Path open_newest_checkpoint(const base::Path& run_directory);

// Returns the newest checkpoint of a run whose checksums all match. `why_not` gets a message for
// each newer one that was skipped. The second form is collective, divides the checking over the
// ranks and returns the same on all of them.
std::optional<base::Path> newest_valid_checkpoint(const base::Path& run_directory,
                                                  std::vector<std::string>* why_not = nullptr);
std::optional<base::Path> newest_valid_checkpoint(
    const base::Path& run_directory, parallel::Communicator& communicator,
    std::vector<std::string>* why_not = nullptr,
    const std::function<bool(std::int64_t step)>& wanted = {});  // empty: all

}  // namespace eyrie::checkpoint
