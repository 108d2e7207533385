// A run under way: where it stands, what it works with. For the files of the training loop alone.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "base/owner.h"
#include "parallel/stop_notice.h"
#include "parallel/watch.h"
#include "trainer/checkpoint_writer.h"
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

  void open();  // everything that can be wrong is found here
  void own();   // from here on the run's folder is this job's
  void resume_or_begin();
  void check();  // what a start would do, without doing it
  Outcome run(const AfterStage& after_stage);
  void finish() { watch_->finish(); }  // the ranks may leave

 private:
  void begin_stage();
  void roll_back();
  bool saves_after(std::int64_t step) const;
  void step(const StageConfig& stage);
  void log_step(const StageConfig& stage);
  // False: a request to stop ended it; it is made up for at the next start.
  bool validate(const StageConfig& stage);
  bool make_up_for_validation();
  void save(bool wait);                           // wait: until it is committed
  std::optional<base::Path> newest_checkpoint();  // collective; warns of those passed over
  parallel::MeshShape fitted(const std::vector<std::string>& names);  // InputError: none fits
  void check_owner() const;  // Error: another job has taken the run over; any rank, any thread
  RunPosition position_in(const CheckpointReader& reader) const;
  void load(const base::Path& checkpoint);
  // False: stopped on request, with the evaluation not finished.
  bool finish_stage(const AfterStage& after_stage);
  void look_at_results(const AfterStage& after_stage);  // of the stages that lie behind
  StageEnd end_of(std::size_t stage) const;
  RunIdentity identity() const;
  std::string state() const;  // of a checkpoint
  bool first() const { return world_.rank() == 0; }

  const RunConfig& run_;
  parallel::Communicator& world_;
  const TrainOptions& options_;
  const base::Path directory_;
  RunData data_;
  parallel::MeshShape shape_;
  std::unique_ptr<TrainingModel> model_;  // null in check()
  std::unique_ptr<Metrics> metrics_;
  std::unique_ptr<parallel::PeerWatch> watch_;
  std::unique_ptr<base::Owner> owner_;          // of rank 0
  std::string owner_mark_;                      // the same on all ranks
  std::unique_ptr<CheckpointWriter> writer_;    // after watch_ and owner_, which its thread uses
  std::unique_ptr<parallel::StopNotice> stop_;  // in mid-validation
  double peak_flops_ = 0;
  bool told_peak_ = false;  // that it is less than what a step reaches

  // Where the run stands: after `step_` steps in all, `stage_step_` of them in stage `stage_`.
  std::int64_t step_ = 0, stage_step_ = 0, tokens_ = 0;
  std::size_t stage_ = 0;
  std::int64_t data_offset_ = 0;  // batches of the stage that were passed over by roll-backs
  Outliers outliers_;
  RollBacks roll_backs_;
  bool fresh_ = true;                   // nothing was loaded
  std::int64_t loaded_ = 0;             // the step of the checkpoint that was gone on from
  std::set<std::int64_t> passed_over_;  // steps of newer ones that are unsound; of rank 0

  // Of the last step.
  StepGradients last_;
  double rate_ = 0, step_s_ = 0, checkpoint_s_ = 0;
  bool skipped_ = false;
  std::optional<double> validation_loss_;  // none where the last step was not validated
  bool validation_due_ = false;            // the last step was to be validated, and a stop came
  std::int64_t steps_here_ = 0;
  Clock::time_point last_line_{}, began_{};
};

}  // namespace eyrie::trainer
