// The checkpoints of a run in progress: which to go on from, and how its position, weights and
// optimizer are saved and loaded.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <set>

#include "checkpoint/writer.h"
#include "trainer/open_run.h"
#include "trainer/outliers.h"
#include "trainer/training_model.h"

namespace eyrie::trainer {

// All calls are collective, unless they are const.
class RunCheckpoints {
 public:
  // `position` and `outliers` are those of the run, which load() sets and save() stores. `model`
  // may be null, if only check() is called. All must outlive the object.
  RunCheckpoints(OpenRun& run, TrainingModel* model, RunPosition& position,
                 OutlierDetector& outliers);

  // Returns where a start would go on, after verifying it; "" for the beginning. Throws InputError
  // if it does not fit the run, or if all checkpoints are damaged.
  std::string check();
  // Loads the newest sound checkpoint. Returns false if there is none. Throws like check().
  bool load_newest();
  // The same for the newest of at most step `most`: for a replay.
  bool load_at_most(std::int64_t most);
  // The same for one before the run's skipped steps (step `before`), for a roll-back. Throws
  // nothing if there is none.
  bool load_before(std::int64_t before);
  // Removes those after the position, up to step `reached`: they are no longer the run's.
  void remove_later(std::int64_t reached);

  // On the first rank. Moves the checkpoints after step `sound` out of the way, to the run's folder
  // suspect/, unless none would be left. Returns what it did, to tell the user.
  std::string set_aside_after(std::int64_t sound);

  void start_writer();   // writes behind the training, if the run is configured so
  void poll();           // between two steps: learns of the end of a save, or its error
  void finish();         // waits for the save under way
  void save(bool wait);  // wait: until it is committed
  // Whether an uninterrupted run writes a checkpoint after this step.
  bool saves_after(std::int64_t step) const;
  double take_seconds() { return std::exchange(seconds_, 0.0); }  // that the last save blocked

 private:
  std::optional<base::Path> newest(const std::function<void(const base::Path&)>& use);
  RunPosition position_in(const checkpoint::CheckpointReader& reader) const;
  void load(const base::Path& path);
  void say_where(const base::Path& path) const;
  std::string state() const;

  OpenRun& run_;
  TrainingModel* model_;
  RunPosition& position_;
  OutlierDetector& outliers_;
  std::int64_t loaded_ = 0;             // the step of the checkpoint it resumed from
  std::set<std::int64_t> passed_over_;  // steps of newer, invalid ones; on the first rank
  double seconds_ = 0;
  std::unique_ptr<checkpoint::CheckpointWriter> writer_;  // last: its thread uses the others
};

}  // namespace eyrie::trainer
