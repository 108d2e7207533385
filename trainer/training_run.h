// A run in progress: its position and what it works with. Internal to the training loop's files.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "base/owner.h"
#include "checkpoint/reader.h"
#include "checkpoint/writer.h"
#include "parallel/health/peer_monitor.h"
#include "parallel/health/stop_notice.h"
#include "trainer/metrics.h"
#include "trainer/outliers.h"
#include "trainer/run_data.h"
#include "trainer/run_state.h"
#include "trainer/trainer.h"
#include "trainer/training_model.h"

namespace eyrie::trainer {

using Clock = std::chrono::steady_clock;

inline double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

class TrainingRun {
 public:
  TrainingRun(const RunConfig& run, parallel::Communicator& world, const TrainOptions& options)
      : run_(run),
        world_(world),
        options_(options),
        directory_(run.directory),
        outliers_(run.outliers) {}

  void open();          // finds everything that can be wrong
  void claim_folder();  // takes the run's folder for this job
  void resume_or_begin();
  void check();  // says what a start would do, without doing it
  Outcome run(const AfterStage& after_stage);
  void finish() { peer_monitor_->finish(); }  // the ranks may leave

 private:
  void begin_stage();
  void roll_back();
  bool saves_after(std::int64_t step) const;
  void step(const StageConfig& stage);
  void log_step(const StageConfig& stage);
  // Returns false if a stop request ended it; the next start makes up for it.
  bool validate(const StageConfig& stage);
  bool make_up_for_validation();
  void save(bool wait);  // wait: until it is committed
  // Collective; warns of skipped ones. `use` as in checkpoint/list.h.
  std::optional<base::Path> newest_checkpoint(const std::function<void(const base::Path&)>& use);
  parallel::MeshShape fitted(const std::vector<std::string>& names);  // may throw InputError
  void check_owner() const;  // throws Error if another job took the run over; any rank, any thread
  RunPosition position_in(const checkpoint::CheckpointReader& reader) const;
  void load(const base::Path& checkpoint);
  void say_where(const base::Path& checkpoint) const;
  // Returns false if a stop request ended the evaluation early.
  bool finish_stage(const AfterStage& after_stage);
  void report_earlier_stages(const AfterStage& after_stage);  // of earlier stages
  StageEnd end_of(std::size_t stage) const;
  RunIdentity identity() const;
  std::string state() const;  // for a checkpoint
  bool first() const { return world_.rank() == 0; }

  const RunConfig& run_;
  parallel::Communicator& world_;
  const TrainOptions& options_;
  const base::Path directory_;
  RunData data_;
  parallel::MeshShape shape_;
  PlannedMemory planned_;
  std::unique_ptr<TrainingModel> model_;  // null in check()
  std::unique_ptr<Metrics> metrics_;
  std::unique_ptr<parallel::PeerMonitor> peer_monitor_;
  std::unique_ptr<base::FolderOwner> owner_;  // on rank 0
  std::string owner_mark_;                    // the same on all ranks
  std::unique_ptr<checkpoint::CheckpointWriter>
      writer_;  // after peer_monitor_ and owner_, which its thread uses
  std::unique_ptr<parallel::StopNotice> stop_;  // during validation
  double peak_flops_ = 0;
  bool told_peak_ = false;  // has warned that a step exceeds peak_flops_

  // The run's position: after `step_` steps in all, `stage_step_` of them in stage `stage_`.
  std::int64_t step_ = 0, stage_step_ = 0, tokens_ = 0;
  std::size_t stage_ = 0;
  std::int64_t data_offset_ = 0;  // batches of the stage that roll-backs skipped
  OutlierDetector outliers_;
  RollBacks roll_backs_;
  bool fresh_ = true;                   // nothing was loaded
  std::int64_t loaded_ = 0;             // the step of the checkpoint it resumed from
  std::int64_t loaded_ranks_ = 0;       // that wrote it
  std::set<std::int64_t> passed_over_;  // steps of newer, invalid ones; on rank 0

  // Of the last step.
  StepResult last_;
  double rate_ = 0, step_s_ = 0, checkpoint_s_ = 0;
  bool skipped_ = false;
  std::optional<double> validation_loss_;  // nullopt if the last step was not validated
  bool validation_due_ = false;            // a stop came before the last step's validation
  std::int64_t steps_here_ = 0;
  Clock::time_point last_line_{}, began_{};
};

}  // namespace eyrie::trainer
