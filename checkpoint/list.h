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

// Calls `look` and returns why the checkpoint is damaged, or "". Throws Error if it cannot be read
// (disk, permissions): then nothing is known.
std::string fault_when(const base::Path& directory, const std::function<void()>& look);
// The same by opening it. `thorough`: verifies everything, of the files of this part.
std::string fault_of(const base::Path& directory, bool thorough, int part = 0, int parts = 1);

// For commands that read a run: returns its newest valid checkpoint and logs those that it skipped.
// Throws InputError if there is none.
base::Path open_newest_checkpoint(const base::Path& run_directory);

// Returns the newest checkpoint of a run that is not damaged, after verifying all of it. `why_not`
// gets a message for each newer one that was skipped.
// The second form is collective and returns the same on all ranks. It looks at those that are
// `wanted`, and divides the verifying over the ranks; or, if `use` is given, calls it on all ranks
// instead. `use` reads what its rank needs. If it finds damage on any rank, the next older
// checkpoint is tried on all, and every rank must be ready to read again.
std::optional<base::Path> newest_valid_checkpoint(const base::Path& run_directory,
                                                  std::vector<std::string>* why_not = nullptr);
std::optional<base::Path> newest_valid_checkpoint(
    const base::Path& run_directory, parallel::Communicator& communicator,
    std::vector<std::string>* why_not = nullptr,
    const std::function<bool(std::int64_t step)>& wanted = {},  // empty: all
    const std::function<void(const base::Path&)>& use = {});

}  // namespace eyrie::checkpoint
