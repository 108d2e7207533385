// Retention: which checkpoints of a run stay. The newest, the milestones, and the best by
// validation loss; what is newest and best is found from what lies there, every time, never from a
// link.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/file.h"
#include "trainer/checkpoint.h"

namespace eyrie::trainer {

struct Retention {
  std::int64_t keep = 3;        // the newest; at least 1
  std::int64_t keep_every = 0;  // those whose step is a multiple; 0: none is kept for that
  std::int64_t best = 0;        // those with the lowest validation loss
};

// The validation loss that a checkpoint's state (JSON) holds: of the same step, by the stage's own
// held-out sequences. None where that step was not validated.
std::optional<double> validation_loss_of(const std::string& state);

// The step of the checkpoint that a roll-back from a state would go to; 0: none, or not known.
std::int64_t roll_back_target_of(const std::string& state);

// Of a run that is under way: the steps of checkpoints that must not go (the one just written, the
// one that was gone on from, the one that a roll-back would go to), and of those that were found
// unsound and passed over, which count for nothing whatever they look like.
struct InUse {
  std::set<std::int64_t> kept, passed_over;
};

struct RetentionRow {
  CheckpointInfo info;
  std::string kept_for;  // "newest", "best", …; empty: it goes
};

// What the rules say of each checkpoint, oldest first. Only those that can be opened count as
// newest or best, so that no damaged one pushes out one that is sound: with none that is sound,
// nothing goes. `thorough`: only those whose every checksum holds count. Each of the newest keeps
// the one that a roll-back from it would go to. Unfinished saves older than the newest checkpoint
// go; a newer one may be under way. Error: one cannot be looked at, so that nothing is known.
std::vector<RetentionRow> apply_retention(const base::Path& run_directory,
                                          const Retention& retention, bool thorough,
                                          const InUse& in_use = {});

// Removes one checkpoint, or the rest of one, and what was moved aside for it.
void remove_checkpoint(const base::Path& path);

// Removes what apply_retention() says, and what was moved aside for checkpoints that are complete.
// Returns what was removed. For one rank only.
std::vector<base::Path> prune_checkpoints(const base::Path& run_directory,
                                          const Retention& retention, bool thorough = false,
                                          const InUse& in_use = {});

}  // namespace eyrie::trainer
