// The training loop.
#include "trainer/training_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>
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
#include "trainer/schedule.h"
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

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

std::string clock_text(double seconds) {
  const auto whole = static_cast<std::int64_t>(seconds);
  return whole >= 3600 ? fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60)
                       : fmt::format("{}:{:02}", whole / 60, whole % 60);
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

// Computes a step's gradients, and updates the parameters or skips the step.
void TrainingRun::step() {
  const StageConfig& stage = this->stage();
  const auto start = Clock::now();
  const std::int64_t batch = at_.stage_step + at_.data_offset;
  const auto stop = [&] {
    return parallel::stop_requested() ||
           (run_.options().stop_after > 0 && steps_here_ + 1 >= run_.options().stop_after);
  };
  last_ = model_.forward_backward(*run_.data().objectives[at_.stage],
                                  *run_.data().streams[at_.stage], stage.micro_shards, batch, stop,
                                  run_.options().gain ? run_.options().gain(batch) : 1.0);
  learning_rate_ = learning_rate(stage.learning_rate, at_.stage_step, stage.steps);
  const std::string why = outliers_.judge(last_.loss, last_.grad_norm);
  skipped_ = !why.empty();
  if (skipped_) {
    if (run_.first()) {
      base::log_warning(
          fmt::format("step {} of stage {} (batch {}) is skipped, number {} in a row: {}",
                      at_.step + 1, stage.name, batch, outliers_.in_a_row(), why));
    }
  } else {
    last_.exchange_s += model_.update(learning_rate_, last_.grad_norm);
    at_.roll_backs.tries = 0;
  }
  ++at_.step;
  ++at_.stage_step;
  ++steps_here_;
  at_.tokens += stage.batch_sequences * stage.sequence_length;
  step_s_ = seconds_since(start);
}

void TrainingRun::begin_stage() {
  const StageConfig& stage = this->stage();
  at_.data_offset = 0;
  if (stage.reset_moments && at_.stage > 0) model_.optimizer().reset_moments();
  base::log_info(fmt::format("stage {}: {} steps of {} sequences of {} tokens", stage.name,
                             stage.steps, stage.batch_sequences, stage.sequence_length));
}

void TrainingRun::log_step() {
  if (!run_.first()) return;
  const StageConfig& stage = this->stage();
  run_.show_presence();
  const double rate = static_cast<double>(stage.batch_sequences * stage.sequence_length) / step_s_;
  const double flops = rate * model::token_flops(model_.griffin(), stage.sequence_length).all();
  Metrics::Line line{at_.step,
                     stage.name,
                     {{"loss", last_.loss},
                      {"grad_norm", last_.grad_norm},
                      {"lr", learning_rate_},
                      {"tokens", static_cast<double>(at_.tokens)},
                      {"tokens_per_s", rate},
                      {"flops_per_s", flops},
                      {"mfu", flops / peak_flops_},
                      {"step_s", step_s_},
                      {"data_s", last_.data_s},
                      {"exchange_s", last_.exchange_s},
                      {"exchange_bytes", last_.exchange_bytes},
                      {"checkpoint_s", checkpoints_.take_seconds()},
                      {"memory_mb", last_.memory_mb},
                      {"time", static_cast<double>(std::time(nullptr))}},
                     {}};
  const std::vector<std::string> names = run_.data().objectives[at_.stage]->metrics();
  for (std::size_t i = 1; i < names.size(); ++i)
    line.numbers.emplace_back(names[i], last_.metrics[i]);
  if (skipped_) line.numbers.emplace_back("skipped", 1.0);
  metrics_->append(line);
  if (flops > peak_flops_ && !told_peak_) {
    told_peak_ = true;
    base::log_warning(fmt::format(
        "mfu is {:.2f}, above 1: the step's products were faster than those measured at the start "
        "({:.0f} GFLOP/s), when something else ran on this machine; take mfu as a comparison only",
        flops / peak_flops_, peak_flops_ * 1e-9));
  }
  if (seconds_since(last_line_) < 2.0 && at_.stage_step != stage.steps && at_.stage_step != 1)
    return;
  last_line_ = Clock::now();
  std::int64_t left = stage.steps - at_.stage_step;
  for (std::size_t s = at_.stage + 1; s < run_.config().stages.size(); ++s)
    left += run_.config().stages[s].steps;
  const double each = seconds_since(began_) / static_cast<double>(steps_here_);
  base::log_info(fmt::format(
      "{} {}/{}  loss {:.4f}  grad_norm {:.3f}  lr {:.2e}  {:.0f} tokens/s  mfu {:.2f}  ETA {}",
      stage.name, at_.stage_step, stage.steps, last_.loss, last_.grad_norm, learning_rate_, rate,
      flops / peak_flops_, clock_text(each * static_cast<double>(left))));
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
  for (; at_.stage < run_.config().stages.size(); ++at_.stage, at_.stage_step = 0) {
    const StageConfig& stage = this->stage();
    if (at_.stage_step == 0) begin_stage();
    while (at_.stage_step < stage.steps) {
      run_.peer_monitor().set_doing(fmt::format("step {} of stage {}", at_.step + 1, stage.name));
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
      const bool end = last && at_.stage + 1 == run_.config().stages.size() && !at_.validation_due;
      if (last_.stop && !end) {
        base::log_info(fmt::format(
            "stopped on request after step {}; the same command goes on from here", at_.step));
        return Outcome::kStopped;
      }
    }
    if (!finish_stage(after_stage)) return Outcome::kStopped;
    if (parallel::stop_requested_anywhere(run_.world()) &&
        at_.stage + 1 < run_.config().stages.size())
      return Outcome::kStopped;
  }
  if (outliers_.in_a_row() > 0 && outliers_.in_a_row() >= at_.step)
    throw base::Error(fmt::format(
        "every one of the {} steps was skipped, so nothing was learnt: lower the learning rate, or "
        "look at the data (the warnings above say why each was skipped)",
        at_.step));
  base::log_info(fmt::format("done: {} steps, {} tokens; everything lies in {}", at_.step,
                             at_.tokens, run_.directory().string()));
  return Outcome::kDone;
}

// After too many skipped steps in a row: returns to a checkpoint before them and skips the batches
// that were tried. Later checkpoints are no longer part of the run: they are removed, so that none
// of them is ever taken for the newest.
void TrainingRun::roll_back() {
  constexpr std::int64_t kTries = 3, kTimes = 10;
  checkpoints_.finish();
  const std::int64_t row = outliers_.in_a_row(), before = at_.step - row;
  const std::string here = fmt::format("{} steps in a row up to step {} of stage {} were skipped",
                                       row, at_.step, run_.config().stages[at_.stage].name);
  const std::string advice =
      "the training has diverged: lower the learning rate, or look at the data of these batches";
  if (at_.roll_backs.tries >= kTries)
    throw base::Error(
        fmt::format("{}, after {} roll-backs to the same checkpoint without a step "
                    "that was learnt from; {}",
                    here, kTries, advice));
  if (at_.roll_backs.last == at_.roll_backs.target && at_.roll_backs.times_last >= kTimes)
    throw base::Error(
        fmt::format("{}, after {} roll-backs to the same checkpoint; {}", here, kTimes, advice));
  const std::size_t stage = at_.stage;
  const std::int64_t next_batch = at_.stage_step + at_.data_offset, reached = at_.step;
  RollBacks now = at_.roll_backs;
  if (!checkpoints_.load_before(before))
    throw base::Error(fmt::format("{}, and there is no checkpoint {}; {}", here,
                                  now.target == 0 ? "yet" : "from before them", advice));
  model_.all_gather_parameters();
  if (at_.stage + 1 == stage &&
      at_.stage_step == run_.config().stages[at_.stage].steps) {  // end of the stage before
    at_.stage = stage;
    at_.stage_step = 0;
    begin_stage();
  }
  if (at_.stage != stage)
    throw base::Error(
        fmt::format("{}, and the newest checkpoint from before them is of stage {} (step {}): "
                    "change the run, and move the newer checkpoints away to go on from it; {}",
                    here, run_.config().stages[at_.stage].name, at_.step, advice));
  ++now.tries;
  now.times_last = now.last == at_.step ? now.times_last + 1 : 1;
  now.last = now.target = at_.step;
  at_.roll_backs = now;
  at_.data_offset = next_batch - at_.stage_step;
  outliers_.forget_row();
  parallel::agree(run_.world(), [&] {
    checkpoints_.remove_later(reached);
    if (run_.first())
      metrics_ = std::make_unique<Metrics>(run_.directory() / "metrics.jsonl", at_.step);
  });
  if (run_.first())
    base::log_warning(
        fmt::format("{}: rolled back to step {}; it goes on with batch {} of the "
                    "stage",
                    here, at_.step, next_batch));
}

}  // namespace eyrie::trainer
