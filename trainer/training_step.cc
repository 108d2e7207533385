// Of a run on its way: one step, what is told of it, and the way back after steps that went wrong.
#include <fmt/format.h>

#include <ctime>

#include "base/log.h"
#include "model/model_statistics.h"
#include "parallel/health/stop.h"
#include "trainer/silent_check.h"
#include "trainer/take_step.h"
#include "trainer/training_run.h"

namespace eyrie::trainer {
namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

std::string clock_text(double seconds) {
  const auto whole = static_cast<std::int64_t>(seconds);
  return whole >= 3600 ? fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60)
                       : fmt::format("{}:{:02}", whole / 60, whole % 60);
}

}  // namespace

// At every check_every-th step: whether all ranks compute the same from the same. If not, the run
// ends, and what was saved since the last comparison is set aside, so that the next start goes on
// from before.
void TrainingRun::check_ranks() {
  const std::int64_t next = at_.step + 1, every = run_.config().check_every;
  if (run_.options().damage) run_.options().damage(next, run_.world().rank(), model_.parameters());
  if (every == 0 || next % every != 0) return;
  run_.peer_monitor().set_doing(fmt::format("the comparison of ranks before step {}", next));
  const std::int64_t batch = at_.stage_step + at_.data_offset;
  const std::string wrong = check_gradients(
      *run_.data().objectives[at_.stage], model_.griffin(), model_.parameters(), model_.mesh(),
      *run_.data().streams[at_.stage], stage().micro_shards, batch, model_.workspace());
  if (wrong.empty()) return;
  checkpoints_.finish();
  std::string from;
  parallel::agree(run_.world(), [&] {
    if (run_.first()) from = checkpoints_.set_aside_after(next - every);
  });
  throw base::Error(fmt::format(
      "before step {} ranks compute different gradients from the same tokens and weights: {}. "
      "Memory or a processor is at fault: leave that host out (--exclude){}",
      next, wrong, from.empty() ? "" : "; " + from));
}

void TrainingRun::step() {
  const auto start = Clock::now();
  const auto stop = [&] {
    return parallel::stop_requested() ||
           (run_.options().stop_after > 0 && steps_here_ + 1 >= run_.options().stop_after);
  };
  const std::int64_t batch = at_.stage_step + at_.data_offset;
  const TakenStep taken = take_step(model_, run_.data(), run_.config(), at_, outliers_, stop,
                                    run_.options().gain ? run_.options().gain(batch) : 1.0);
  last_ = taken.result;
  learning_rate_ = taken.learning_rate;
  skipped_ = !taken.skipped.empty();
  if (skipped_ && run_.first()) {
    base::log_warning(
        fmt::format("step {} of stage {} (batch {}) is skipped, number {} in a row: {}", at_.step,
                    stage().name, batch, outliers_.in_a_row(), taken.skipped));
  }
  ++steps_here_;
  step_s_ = seconds_since(start);
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
