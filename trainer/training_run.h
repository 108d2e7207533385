// A run on its way: the training loop over its stages, from where it begins or resumes to its end.
#pragma once

#include <chrono>
#include <memory>

#include "parallel/health/stop_notice.h"
#include "trainer/metrics.h"
#include "trainer/open_run.h"
#include "trainer/outliers.h"
#include "trainer/run_checkpoints.h"
#include "trainer/training_model.h"

namespace eyrie::trainer {

// All calls are collective.
class TrainingRun {
 public:
  // `run` must outlive the object.
  explicit TrainingRun(OpenRun& run);

  void resume_or_begin();
  Outcome run(const AfterStage& after_stage);

 private:
  using Clock = std::chrono::steady_clock;
  const StageConfig& stage() const { return run_.config().stages[at_.stage]; }
  std::size_t last_stage() const;
  void begin_stage();
  void check_ranks();
  void step();
  void log_step();
  void roll_back();
  // Returns false if a stop request ended it; the next start makes up for it.
  bool validate();
  bool make_up_for_validation();
  // Returns false if a stop request ended the evaluation early.
  bool finish_stage(const AfterStage& after_stage);
  void report_earlier_stages(const AfterStage& after_stage);
  StageEnd end_of(std::size_t stage);

  OpenRun& run_;
  TrainingModel model_;
  RunPosition at_;
  OutlierDetector outliers_;
  RunCheckpoints checkpoints_;  // after what it saves
  std::unique_ptr<Metrics> metrics_;
  std::unique_ptr<parallel::StopNotice> stop_;  // during validation
  bool fresh_ = true;                           // nothing was loaded
  double peak_flops_ = 0;
  bool told_peak_ = false;  // has warned that a step exceeds peak_flops_

  // Of the last step.
  StepResult last_;
  double learning_rate_ = 0, step_s_ = 0;
  bool skipped_ = false;

  std::int64_t steps_here_ = 0;  // since this start
  Clock::time_point last_line_{}, began_{};
};

}  // namespace eyrie::trainer
