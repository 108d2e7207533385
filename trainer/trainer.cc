// The training loop.
#include "trainer/trainer.h"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>

#include "base/log.h"
#include "model/model_statistics.h"
#include "model/scorer.h"
#include "parallel/communication/run_guarded.h"
#include "parallel/health/stop.h"
#include "tensor/threads.h"
#include "trainer/run_facts.h"
#include "trainer/schedule.h"
#include "trainer/training_run.h"
#include "trainer/validation.h"

namespace eyrie::trainer {
namespace {

std::string clock_text(double seconds) {
  const auto whole = static_cast<std::int64_t>(seconds);
  return whole >= 3600 ? fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60)
                       : fmt::format("{}:{:02}", whole / 60, whole % 60);
}

}  // namespace

// Computes a step's gradients, and updates the parameters or skips the step.
void TrainingRun::step(const StageConfig& stage) {
  const auto start = Clock::now();
  const std::int64_t batch = stage_step_ + data_offset_;
  const auto stop = [&] {
    return parallel::stop_requested() ||
           (options_.stop_after > 0 && steps_here_ + 1 >= options_.stop_after);
  };
  last_ = model_->forward_backward(*data_.objectives[stage_], *data_.streams[stage_],
                                   stage.micro_shards, batch, stop,
                                   options_.gain ? options_.gain(batch) : 1.0);
  rate_ = learning_rate(stage.learning_rate, stage_step_, stage.steps);
  const std::string why = outliers_.judge(last_.loss, last_.grad_norm);
  skipped_ = !why.empty();
  if (skipped_) {
    if (first()) {
      base::log_warning(
          fmt::format("step {} of stage {} (batch {}) is skipped, number {} in a row: {}",
                      step_ + 1, stage.name, batch, outliers_.in_a_row(), why));
    }
  } else {
    last_.exchange_s += model_->update(rate_, last_.grad_norm);
    roll_backs_.tries = 0;
  }
  ++step_;
  ++stage_step_;
  ++steps_here_;
  tokens_ += stage.batch_sequences * stage.sequence_length;
  step_s_ = seconds_since(start);
}

void TrainingRun::begin_stage() {
  const StageConfig& stage = run_.stages[stage_];
  data_offset_ = 0;
  if (stage.reset_moments && stage_ > 0) model_->optimizer().reset_moments();
  base::log_info(fmt::format("stage {}: {} steps of {} sequences of {} tokens", stage.name,
                             stage.steps, stage.batch_sequences, stage.sequence_length));
}

void TrainingRun::log_step(const StageConfig& stage) {
  if (!first()) return;
  owner_->check_seen();
  const double rate = static_cast<double>(stage.batch_sequences * stage.sequence_length) / step_s_;
  const double flops = rate * model::token_flops(model_->griffin(), stage.sequence_length).all();
  Metrics::Line line{step_,
                     stage.name,
                     {{"loss", last_.loss},
                      {"grad_norm", last_.grad_norm},
                      {"lr", rate_},
                      {"tokens", static_cast<double>(tokens_)},
                      {"tokens_per_s", rate},
                      {"flops_per_s", flops},
                      {"mfu", flops / peak_flops_},
                      {"step_s", step_s_},
                      {"data_s", last_.data_s},
                      {"exchange_s", last_.exchange_s},
                      {"exchange_bytes", last_.exchange_bytes},
                      {"checkpoint_s", checkpoint_s_},
                      {"memory_mb", last_.memory_mb},
                      {"time", static_cast<double>(std::time(nullptr))}},
                     {}};
  const std::vector<std::string> names = data_.objectives[stage_]->metrics();
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
  if (seconds_since(last_line_) < 2.0 && stage_step_ != stage.steps && stage_step_ != 1) return;
  last_line_ = Clock::now();
  std::int64_t left = stage.steps - stage_step_;
  for (std::size_t s = stage_ + 1; s < run_.stages.size(); ++s) left += run_.stages[s].steps;
  const double each = seconds_since(began_) / static_cast<double>(steps_here_);
  base::log_info(fmt::format(
      "{} {}/{}  loss {:.4f}  grad_norm {:.3f}  lr {:.2e}  {:.0f} tokens/s  mfu {:.2f}  ETA {}",
      stage.name, stage_step_, stage.steps, last_.loss, last_.grad_norm, rate_, rate,
      flops / peak_flops_, clock_text(each * static_cast<double>(left))));
}

bool TrainingRun::validate(const StageConfig& stage) {
  validation_due_ = false;
  if (stage.validate_sequences == 0) return true;
  peer_monitor_->set_doing(
      fmt::format("the validation after step {} of stage {}", step_, stage.name));
  const ValidationLoss loss = validation_loss(
      model_->evaluation_model(), model_->parameters(), *data_.held_out[stage_],
      stage.validate_sequences, model_->mesh().data_context(), model_->workspace(), stop_.get());
  validation_due_ = loss.stopped;
  if (loss.stopped) return false;
  if (loss.by_source.empty()) return true;
  validation_loss_ = loss.all;
  if (!first()) return true;
  metrics_->append({step_,
                    stage.name,
                    {{"validation_loss", loss.all}},
                    {{"validation_loss_by_source", loss.by_source}}});
  std::string sources;
  for (const auto& [source, value] : loss.by_source)
    sources += fmt::format("  {} {:.4f}", source, value);
  base::log_info(fmt::format("{} {}/{}  validation loss {:.4f} {}", stage.name, stage_step_,
                             stage.steps, loss.all, sources));
  return true;
}

// Runs the validation that a stop prevented, so that metrics and checkpoints are those of a run
// that was never stopped.
bool TrainingRun::make_up_for_validation() {
  if (!validation_due_) return true;
  if (!validate(run_.stages[stage_])) return false;
  if (saves_after(step_)) save(true);
  return true;
}

StageEnd TrainingRun::end_of(std::size_t stage) const {
  std::int64_t step = 0;
  for (std::size_t s = 0; s <= stage; ++s) step += run_.stages[s].steps;
  return {run_.stages[stage],
          *data_.tokenizer,
          model_->mesh(),
          directory_ / "eval" / run_.stages[stage].name,
          step,
          name_of(model_->parameters().compute_dtype()),
          {},
          nullptr};
}

void TrainingRun::report_earlier_stages(const AfterStage& after_stage) {
  for (std::size_t stage = 0; stage < stage_; ++stage) {
    if (!run_.stages[stage].tasks.empty() && after_stage) after_stage(end_of(stage));
  }
}

bool TrainingRun::finish_stage(const AfterStage& after_stage) {
  const StageConfig& stage = run_.stages[stage_];
  if (stage.tasks.empty() || !after_stage) return true;
  peer_monitor_->set_doing("the evaluation after stage " + stage.name);
  parallel::agree(world_, [&] { check_owner(); });
  model::Scorer scorer(model_->evaluation_model(), model_->parameters());
  StageEnd end = end_of(stage_);
  end.step = step_;
  end.weights = model_->weights_fingerprint();
  end.model = &scorer;
  return after_stage(end);
}

Outcome TrainingRun::run(const AfterStage& after_stage) {
  began_ = Clock::now();
  peer_monitor_->set_advice(
      fresh_ ? "No checkpoint was written yet: start the same command again."
             : "Start the same command again: it goes on from the newest checkpoint.");
  if (parallel::stop_requested_anywhere(world_)) {
    base::log_info(fmt::format(
        "stopped on request before step {}: there is nothing new to save; the same command {}",
        step_ + 1, fresh_ ? "begins the run" : "goes on from here"));
    return Outcome::kStopped;
  }
  report_earlier_stages(after_stage);
  if (!make_up_for_validation()) return Outcome::kStopped;
  for (; stage_ < run_.stages.size(); ++stage_, stage_step_ = 0) {
    const StageConfig& stage = run_.stages[stage_];
    if (stage_step_ == 0) begin_stage();
    while (stage_step_ < stage.steps) {
      peer_monitor_->set_doing(fmt::format("step {} of stage {}", step_ + 1, stage.name));
      step(stage);
      log_step(stage);
      checkpoint_s_ = 0;
      validation_loss_.reset();
      if (writer_) writer_->poll();
      if (outliers_.roll_back()) {
        roll_back();
        continue;
      }
      const bool last = stage_step_ == stage.steps;
      if (last || (stage.validate_every > 0 && stage_step_ % stage.validate_every == 0))
        last_.stop = !validate(stage) || last_.stop;
      if (last_.stop || saves_after(step_)) save(last || last_.stop);
      const bool end = last && stage_ + 1 == run_.stages.size() && !validation_due_;
      if (last_.stop && !end) {
        base::log_info(fmt::format(
            "stopped on request after step {}; the same command goes on from here", step_));
        return Outcome::kStopped;
      }
    }
    if (!finish_stage(after_stage)) return Outcome::kStopped;
    if (parallel::stop_requested_anywhere(world_) && stage_ + 1 < run_.stages.size())
      return Outcome::kStopped;
  }
  if (outliers_.in_a_row() > 0 && outliers_.in_a_row() >= step_)
    throw base::Error(fmt::format(
        "every one of the {} steps was skipped, so nothing was learnt: lower the learning rate, or "
        "look at the data (the warnings above say why each was skipped)",
        step_));
  base::log_info(fmt::format("done: {} steps, {} tokens; everything lies in {}", step_, tokens_,
                             directory_.string()));
  return Outcome::kDone;
}

Outcome train(const RunConfig& config, parallel::Communicator& world, const TrainOptions& options,
              const AfterStage& after_stage) {
  parallel::check_same(world, start_facts(config, options),
                       "Give every rank the same command and the same configuration");
  tensor::set_thread_count(threads_for(config.threads, world));
  TrainingRun trainer(config, world, options);
  try {
    trainer.open();
    Outcome outcome = Outcome::kDone;
    if (options.check) {
      trainer.check();
    } else {
      trainer.resume_or_begin();
      outcome = trainer.run(after_stage);
    }
    trainer.finish();
    return outcome;
  } catch (const std::exception& error) {
    parallel::tell_failure(world, error);  // a save in progress may take long to end
    throw;
  }
}

}  // namespace eyrie::trainer
