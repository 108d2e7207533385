// Retention: which checkpoints of a run are kept. These are the newest, the milestones, the ends of
// stages, and the best by validation loss. Newest and best are found from the files each time,
// never from a link.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/file.h"
#include "checkpoint/list.h"

namespace eyrie::checkpoint {

struct Retention {
  std::int64_t keep = 3;                      // how many of the newest; at least 1
  std::int64_t keep_every = 0;                // those whose step is a multiple of this; 0: none
  std::int64_t best = 0;                      // how many with the lowest validation loss
  std::vector<std::int64_t> stage_ends = {};  // the steps at which stages end, if those are kept
};

// Returns the validation loss in a checkpoint's state (JSON): of the same step, on the stage's own
// held-out sequences. nullopt if that step was not validated.
std::optional<double> validation_loss_of(const std::string& state);

// Returns the step of the checkpoint that a roll-back from a state would return to; 0: none, or not
// known.
std::int64_t roll_back_target_of(const std::string& state);

// For a run in progress: the steps of checkpoints that must be kept (the one just written, the one
// it resumed from, the one that a roll-back would return to), and of those that were found invalid
// and skipped, which never count, whatever they look like now.
struct InUse {
  std::set<std::int64_t> kept, passed_over;
};

struct RetentionDecision {
  CheckpointInfo info;
  std::string kept_for;  // "newest", "best", …; empty: to be removed
};

// Applies the rules to every checkpoint, oldest first. Only those that can be opened count as
// newest or best, so that a damaged one never displaces a valid one: if none is valid, none is
// removed. `thorough`: only those whose checksums all match count. Each of the newest also keeps
// the one that a roll-back from it would return to. Unfinished saves older than the newest
// checkpoint are removed; a newer one may be in progress. Throws Error if one cannot be read, since
// then nothing is known.
std::vector<RetentionDecision> apply_retention(const base::Path& run_directory,
                                               const Retention& retention, bool thorough,
                                               const InUse& in_use = {});

// Removes a checkpoint, complete or not, and what was moved aside for it.
void remove_checkpoint(const base::Path& path);

// Removes the checkpoints that apply_retention() does not keep, and what was moved aside for
// complete ones. Returns the removed checkpoints. For one rank only.
std::vector<base::Path> prune_checkpoints(const base::Path& run_directory,
                                          const Retention& retention, bool thorough = false,
                                          const InUse& in_use = {});

}  // namespace eyrie::checkpoint
