// The training loop.
#include "trainer/training_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <mutex>

#include "base/listing.h"
#include "base/log.h"
#include "base/output_place.h"
#include "model/model_statistics.h"
#include "model/scorer.h"
#include "parallel/health/slow_work.h"
#include "parallel/health/stop.h"
#include "tensor/ops/matmul.h"
#include "tensor/threads.h"
#include "trainer/take_step.h"
#include "trainer/validation.h"

namespace eyrie::trainer {
namespace {

// The peak of this rank's threads. Measured once per process: in-process ranks share the result.
double matmul_peak(tensor::DType dtype) {
  static std::mutex mutex;
  static std::map<std::pair<tensor::DType, int>, double> known;
  const std::lock_guard<std::mutex> lock(mutex);
  double& peak = known[{dtype, tensor::thread_count()}];
  if (peak == 0) peak = tensor::measure_matmul_peak(dtype);
  return peak;
}

}  // namespace

TrainingRun::TrainingRun(OpenRun& run)
    : run_(run),
      model_(run.config(), run.world(), run.mesh()),
      outliers_(run.config().outliers),
      checkpoints_(run, &model_, at_, outliers_) {}

void TrainingRun::resume_or_begin() {
  const parallel::SlowWork slow(run_.world());  // reads as much as a save writes
  fresh_ = !checkpoints_.load_newest();
  if (fresh_) {
    model_.initialise(static_cast<std::uint64_t>(run_.config().seed));
  } else {
    model_.all_gather_parameters();
  }
  parallel::agree(run_.world(), [&] {
    base::make_directories(run_.directory() / "log");
    base::log_to_directory((run_.directory() / "log").string(), run_.world().rank());
    // On each rank's host: its own part of every checkpoint is written there.
    base::check_output_folder("the run's directory", run_.directory() / "checkpoints", true);
    if (!run_.first()) return;
    base::write_file(run_.directory() / "run.yaml", run_.config().resolved);
    metrics_ = std::make_unique<Metrics>(run_.directory() / "metrics.jsonl", at_.step);
  });
  checkpoints_.start_writer();
  stop_ =
      std::make_unique<parallel::StopNotice>(model_.mesh().data_context(), &model_.mesh().tensor());
  const tensor::DType compute = model_.parameters().compute_dtype();
  std::vector<double> peaks = {matmul_peak(compute)};
  run_.world().all_reduce(std::span<double>(peaks), parallel::Reduce::kSum);
  peak_flops_ = peaks[0];
  base::log_info(fmt::format(
      "model {}; {} parameters, {}; {} of {} ({}); products reach {:.0f} GFLOP/s, {:.0f} a rank",
      model::title_of(run_.config().model, true),
      model::whole_parameter_count(model_.griffin().units()), name_of(compute),
      base::counted(run_.world().size(), "rank"), base::counted(tensor::thread_count(), "thread"),
      parallel::describe(model_.mesh().shape()), peak_flops_ * 1e-9,
      peak_flops_ * 1e-9 / run_.world().size()));
}

void TrainingRun::begin_stage() {
  const StageConfig& stage = this->stage();
  enter_stage(model_, run_.config(), at_);
  base::log_info(fmt::format("stage {}: {} steps of {} sequences of {} tokens", stage.name,
                             stage.steps, stage.batch_sequences, stage.sequence_length));
}

bool TrainingRun::validate() {
  const StageConfig& stage = this->stage();
  at_.validation_due = false;
  if (stage.validate_sequences == 0) return true;
  run_.peer_monitor().set_doing(
      fmt::format("the validation after step {} of stage {}", at_.step, stage.name));
  const ValidationLoss loss = validation_loss(
      model_.evaluation_model(), model_.parameters(), *run_.data().held_out[at_.stage],
      stage.validate_sequences, model_.mesh().data_context(), model_.workspace(), stop_.get());
  at_.validation_due = loss.stopped;
  if (loss.stopped) return false;
  if (loss.by_source.empty()) return true;
  at_.validation_loss = loss.all;
  if (!run_.first()) return true;
  metrics_->append({at_.step,
                    stage.name,
                    {{"validation_loss", loss.all}},
                    {{"validation_loss_by_source", loss.by_source}}});
  std::string sources;
  for (const auto& [source, value] : loss.by_source)
    sources += fmt::format("  {} {:.4f}", source, value);
  base::log_info(fmt::format("{} {}/{}  validation loss {:.4f} {}", stage.name, at_.stage_step,
                             stage.steps, loss.all, sources));
  return true;
}

// Runs the validation that a stop prevented, so that metrics and checkpoints are those of a run
// that was never stopped.
bool TrainingRun::make_up_for_validation() {
  if (!at_.validation_due) return true;
  if (!validate()) return false;
  if (checkpoints_.saves_after(at_.step)) checkpoints_.save(true);
  return true;
}

StageEnd TrainingRun::end_of(std::size_t stage) {
  std::int64_t step = 0;
  for (std::size_t s = 0; s <= stage; ++s) step += run_.config().stages[s].steps;
  return {run_.config().stages[stage],
          *run_.data().tokenizer,
          model_.mesh(),
          run_.directory() / "eval" / run_.config().stages[stage].name,
          step,
          name_of(model_.parameters().compute_dtype()),
          {},
          nullptr};
}

void TrainingRun::report_earlier_stages(const AfterStage& after_stage) {
  for (std::size_t stage = 0; stage < at_.stage; ++stage) {
    if (!run_.config().stages[stage].tasks.empty() && after_stage) after_stage(end_of(stage));
  }
}

bool TrainingRun::finish_stage(const AfterStage& after_stage) {
  const StageConfig& stage = this->stage();
  if (stage.tasks.empty() || !after_stage) return true;
  run_.peer_monitor().set_doing("the evaluation after stage " + stage.name);
  parallel::agree(run_.world(), [&] { run_.check_owner(); });
  model::Scorer scorer(model_.evaluation_model(), model_.parameters());
  StageEnd end = end_of(at_.stage);
  end.step = at_.step;
  end.weights = model_.weights_fingerprint();
  end.model = &scorer;
  return after_stage(end);
}

// The stage after which this start ends.
std::size_t TrainingRun::last_stage() const {
  const auto& stages = run_.config().stages;
  std::size_t stage = 0;
  while (stage + 1 < stages.size() && stages[stage].name != run_.options().until_stage) ++stage;
  return stage;
}

Outcome TrainingRun::run(const AfterStage& after_stage) {
  began_ = Clock::now();
  run_.peer_monitor().set_advice(
      fresh_ ? "No checkpoint was written yet: start the same command again."
             : "Start the same command again: it goes on from the newest checkpoint.");
  if (parallel::stop_requested_anywhere(run_.world())) {
    base::log_info(fmt::format(
        "stopped on request before step {}: there is nothing new to save; the same command {}",
        at_.step + 1, fresh_ ? "begins the run" : "goes on from here"));
    return Outcome::kStopped;
  }
  report_earlier_stages(after_stage);
  if (!make_up_for_validation()) return Outcome::kStopped;
  const std::size_t last_stage = this->last_stage();
  if (at_.stage > last_stage) {
    base::log_info(fmt::format("stage {} lies behind: this run is at step {}, in stage {}",
                               run_.options().until_stage, at_.step, stage().name));
    return Outcome::kDone;
  }
  for (; at_.stage <= last_stage; ++at_.stage, at_.stage_step = 0) {
    const StageConfig& stage = this->stage();
    if (at_.stage_step == 0) begin_stage();
    while (at_.stage_step < stage.steps) {
      run_.peer_monitor().set_doing(fmt::format("step {} of stage {}", at_.step + 1, stage.name));
      check_ranks();
      step();
      log_step();
      at_.validation_loss.reset();
      checkpoints_.poll();
      if (outliers_.roll_back()) {
        roll_back();
        continue;
      }
      const bool last = at_.stage_step == stage.steps;
      if (last || (stage.validate_every > 0 && at_.stage_step % stage.validate_every == 0))
        last_.stop = !validate() || last_.stop;
      if (last_.stop || checkpoints_.saves_after(at_.step)) checkpoints_.save(last || last_.stop);
      const bool end = last && at_.stage == last_stage && !at_.validation_due;
      if (last_.stop && !end) {
        base::log_info(fmt::format(
            "stopped on request after step {}; the same command goes on from here", at_.step));
        return Outcome::kStopped;
      }
    }
    if (!finish_stage(after_stage)) return Outcome::kStopped;
    if (parallel::stop_requested_anywhere(run_.world()) && at_.stage < last_stage)
      return Outcome::kStopped;
  }
  if (outliers_.in_a_row() > 0 && outliers_.in_a_row() >= at_.step)
    throw base::Error(fmt::format(
        "every one of the {} steps was skipped, so nothing was learnt: lower the learning rate, or "
        "look at the data (the warnings above say why each was skipped)",
        at_.step));
  base::log_info(fmt::format("done{}: {} steps, {} tokens; everything lies in {}",
                             run_.options().until_stage.empty()
                                 ? ""
                                 : fmt::format(" until stage {}", run_.options().until_stage),
                             at_.step, at_.tokens, run_.directory().string()));
  return Outcome::kDone;
}

}  // namespace eyrie::trainer
