// The training loop.
#include "trainer/trainer.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <ctime>
#include <filesystem>
#include <map>
#include <mutex>
#include <set>

#include "base/log.h"
#include "model/scorer.h"
#include "parallel/stop.h"
#include "parallel/watch.h"
#include "tensor/ops/matmul.h"
#include "tensor/threads.h"
#include "trainer/checkpoint.h"
#include "trainer/checkpoint_retention.h"
#include "trainer/checkpoint_writer.h"
#include "trainer/fit_mesh.h"
#include "trainer/memory_limit.h"
#include "trainer/metrics.h"
#include "trainer/outliers.h"
#include "trainer/run_data.h"
#include "trainer/run_state.h"
#include "trainer/schedule.h"
#include "trainer/training_model.h"
#include "trainer/validation.h"

namespace eyrie::trainer {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

std::string host_name() {
  char host[256] = {};
  gethostname(host, sizeof host - 1);
  return host;
}

std::string clock_text(double seconds) {
  const auto whole = static_cast<std::int64_t>(seconds);
  return whole >= 3600 ? fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60)
                       : fmt::format("{}:{:02}", whole / 60, whole % 60);
}

// Of this rank's threads. Measured once a process: in-process ranks share the figure.
double matmul_peak(tensor::DType dtype) {
  static std::mutex mutex;
  static std::map<std::pair<tensor::DType, int>, double> known;
  const std::lock_guard<std::mutex> lock(mutex);
  double& peak = known[{dtype, tensor::thread_count()}];
  if (peak == 0) peak = tensor::measure_matmul_peak(dtype);
  return peak;
}

// A run whose checkpoints are all damaged must not be begun anew in their place: its saves would
// replace what may still be got out of them. Saves that were never finished do not count: a run
// that died in its first save begins again.
void refuse_damaged_run(const base::Path& run) {
  std::vector<std::string> damaged;
  for (const CheckpointInfo& info : list_checkpoints(run / "checkpoints"))
    if (info.complete) damaged.push_back(info.path.filename().string());
  if (damaged.empty()) return;
  throw base::InputError(fmt::format(
      "{}: no checkpoint there is sound (damaged: {}; the warnings above say how). Put back a copy "
      "of one of them to go on from it, or give this run another name to train it from the start",
      (run / "checkpoints").string(), fmt::join(damaged, ", ")));
}

int count_hosts(parallel::Communicator& world) {
  const auto hosts = world.all_gather(host_name());
  return static_cast<int>(std::set<std::string>(hosts.begin(), hosts.end()).size());
}

class Trainer {
 public:
  Trainer(const RunConfig& run, parallel::Communicator& world, const TrainOptions& options)
      : run_(run),
        world_(world),
        options_(options),
        directory_(run.directory),
        outliers_(run.outliers) {}

  void open();  // everything that can be wrong is found here
  void resume_or_begin();
  Outcome run(const AfterStage& after_stage);
  void finish() { watch_->finish(); }  // the ranks may leave

 private:
  void begin_stage();
  void roll_back();
  bool saves_after(std::int64_t step) const;
  void step(const StageConfig& stage);
  void log_step(const StageConfig& stage);
  void validate(const StageConfig& stage);
  void save(bool wait);  // wait: until it is committed
  void load(const base::Path& checkpoint);
  void finish_stage(const StageConfig& stage, const AfterStage& after_stage);
  RunIdentity identity() const;
  std::string state() const;  // of a checkpoint
  bool first() const { return world_.rank() == 0; }

  const RunConfig& run_;
  parallel::Communicator& world_;
  const TrainOptions& options_;
  const base::Path directory_;
  RunData data_;
  std::unique_ptr<TrainingModel> model_;
  std::unique_ptr<Metrics> metrics_;
  std::unique_ptr<parallel::PeerWatch> watch_;
  std::unique_ptr<CheckpointWriter> writer_;  // after watch_, which its thread uses
  double peak_flops_ = 0;

  // Where the run stands: after `step_` steps in all, `stage_step_` of them in stage `stage_`.
  std::int64_t step_ = 0, stage_step_ = 0, tokens_ = 0;
  std::size_t stage_ = 0;
  std::int64_t data_offset_ = 0;  // batches of the stage that were passed over by roll-backs
  Outliers outliers_;
  std::int64_t roll_backs_ = 0;  // since the newest checkpoint
  bool fresh_ = true;            // nothing was loaded

  // Of the last step.
  StepGradients last_;
  double rate_ = 0, step_s_ = 0, checkpoint_s_ = 0;
  bool skipped_ = false;
  std::optional<double> validation_loss_;  // none where the last step was not validated
  std::int64_t steps_here_ = 0;
  Clock::time_point last_line_{}, began_{};
};

void Trainer::open() {
  parallel::MeshShape shape;
  const int hosts = count_hosts(world_);
  parallel::agree(world_, [&] {
    shape = fit_mesh(run_, world_.size(), hosts);
    check_memory(run_, shape);
    if (first() && options_.fresh && std::filesystem::exists(directory_)) {
      throw base::InputError(
          fmt::format("{} is there already and --fresh does not touch it; choose another name, or "
                      "leave out --fresh to go on",
                      directory_.string()));
    }
    data_ = open_run_data(run_);
  });
  const std::string warning =
      first() ? memory_warning(run_, shape, (world_.size() + hosts - 1) / hosts) : "";
  if (!warning.empty()) base::log_warning(warning);
  model_ = std::make_unique<TrainingModel>(run_, world_, shape);
  watch_ =
      std::make_unique<parallel::PeerWatch>(world_, static_cast<double>(run_.watchdog_seconds));
}

RunIdentity Trainer::identity() const {
  return {run_, data_.tokenizer->hash(), data_.fingerprints(), tensor::thread_count(),
          model_->mesh().shape()};
}

std::string Trainer::state() const {
  return state_json({step_, stage_, stage_step_, data_offset_, tokens_,
                     model_->optimizer().updates(), validation_loss_, outliers_.state(), 0},
                    identity());
}

void Trainer::resume_or_begin() {
  std::vector<std::string> why_not;
  const auto newest = newest_valid_checkpoint(directory_, world_, &why_not);
  if (first()) {
    for (const std::string& why : why_not) base::log_warning(why);
  }
  parallel::agree(world_, [&] {
    if (newest) {
      load(*newest);
    } else if (first()) {
      refuse_damaged_run(directory_);
    }
  });
  if (newest) {
    model_->share();
  } else {
    model_->initialise(static_cast<std::uint64_t>(run_.seed));
  }
  parallel::agree(world_, [&] {
    base::make_directories(directory_ / "log");
    base::log_to_directory((directory_ / "log").string(), world_.rank());
    if (!first()) return;
    base::write_file(directory_ / "run.yaml", run_.resolved);
    metrics_ = std::make_unique<Metrics>(directory_ / "metrics.jsonl", step_);
  });
  if (run_.checkpoint_async) writer_ = std::make_unique<CheckpointWriter>(world_);
  const tensor::DType compute = model_->parameters().compute();
  std::vector<double> peaks = {matmul_peak(compute)};
  world_.all_reduce(std::span<double>(peaks), parallel::Reduce::kSum);
  peak_flops_ = peaks[0];
  base::log_info(fmt::format(
      "model {}: {} parameters, {}; {} ranks of {} threads ({}); products reach {:.0f} GFLOP/s",
      run_.model.preset, model::whole_parameter_count(model_->griffin().units()), name_of(compute),
      world_.size(), tensor::thread_count(), parallel::describe(model_->mesh().shape()),
      peak_flops_ * 1e-9));
}

void Trainer::load(const base::Path& checkpoint) {
  const CheckpointReader reader(checkpoint);
  std::vector<std::string> warnings;
  const RunPosition position = position_in(reader, identity(), warnings);
  stage_ = position.stage;
  step_ = position.step;
  stage_step_ = position.stage_step;
  data_offset_ = position.data_offset;
  outliers_.set_state(position.outliers);
  tokens_ = position.tokens;
  check_tensors(reader, model_->griffin().units());
  model_->optimizer().load(reader);
  model_->optimizer().set_updates(position.updates);
  fresh_ = false;
  if (first()) {
    for (const std::string& warning : warnings) base::log_warning(warning);
  }
  base::log_info(fmt::format("going on from {} (stage {}, step {}, written by {} ranks)",
                             checkpoint.string(), run_.stages[stage_].name, step_, position.ranks));
}

// A step's gradients, and what becomes of them.
void Trainer::step(const StageConfig& stage) {
  const auto start = Clock::now();
  const std::int64_t batch = stage_step_ + data_offset_;
  const bool stop = parallel::stop_requested() ||
                    (options_.stop_after > 0 && steps_here_ + 1 >= options_.stop_after);
  last_ = model_->gradients(*data_.streams[stage_], stage.micro_shards, batch, stop,
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
  }
  ++step_;
  ++stage_step_;
  ++steps_here_;
  tokens_ += stage.batch_sequences * stage.sequence_length;
  step_s_ = seconds_since(start);
}

// Whether a run that is never stopped writes a checkpoint after this step.
bool Trainer::saves_after(std::int64_t step) const {
  std::int64_t end = 0;
  for (const StageConfig& stage : run_.stages) {
    end += stage.steps;
    if (step == end) return true;
  }
  return step % run_.checkpoint_every == 0;
}

// Too many skipped steps in a row: back to the newest checkpoint, and past the batches that were
// tried.
void Trainer::roll_back() {
  constexpr std::int64_t kTries = 3;
  if (writer_) writer_->finish();
  const std::string here = fmt::format("{} steps in a row up to step {} of stage {} were skipped",
                                       outliers_.in_a_row(), step_, run_.stages[stage_].name);
  const std::string advice =
      "the training has diverged: lower the learning rate, or look at the data of these batches";
  if (++roll_backs_ > kTries) {
    throw base::Error(
        fmt::format("{}, after {} roll-backs to the same checkpoint; {}", here, kTries, advice));
  }
  // Not one that a stop wrote between: the undisturbed run has none there.
  const auto newest = newest_valid_checkpoint(directory_, world_, nullptr,
                                              [&](std::int64_t step) { return saves_after(step); });
  if (!newest)
    throw base::Error(fmt::format("{}, and there is no checkpoint yet; {}", here, advice));
  const std::size_t stage = stage_;
  const std::int64_t next_batch = stage_step_ + data_offset_;
  parallel::agree(world_, [&] { load(*newest); });
  model_->share();
  if (stage_ + 1 == stage && stage_step_ == run_.stages[stage_].steps) {  // the border before
    stage_ = stage;
    stage_step_ = 0;
    begin_stage();
  }
  if (stage_ != stage)
    throw base::Error(
        fmt::format("{}, and the newest checkpoint is of stage {}; start again from "
                    "it; {}",
                    here, run_.stages[stage_].name, advice));
  data_offset_ = next_batch - stage_step_;
  outliers_.forget_row();
  if (!first()) return;
  metrics_ = std::make_unique<Metrics>(directory_ / "metrics.jsonl", step_);
  base::log_warning(fmt::format("{}: rolled back to step {}; it goes on with batch {} of the stage",
                                here, step_, next_batch));
}

void Trainer::begin_stage() {
  const StageConfig& stage = run_.stages[stage_];
  data_offset_ = 0;
  if (stage.reset_moments && stage_ > 0) model_->optimizer().reset_moments();
  base::log_info(fmt::format("stage {}: {} steps of {} sequences of {} tokens", stage.name,
                             stage.steps, stage.batch_sequences, stage.sequence_length));
}

void Trainer::log_step(const StageConfig& stage) {
  if (!first()) return;
  const double rate = static_cast<double>(stage.batch_sequences * stage.sequence_length) / step_s_;
  const double flops = rate * model_->griffin().flops_per_token(stage.sequence_length);
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
  if (skipped_) line.numbers.emplace_back("skipped", 1.0);
  metrics_->append(line);
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

void Trainer::validate(const StageConfig& stage) {
  if (stage.validate_sequences == 0) return;
  watch_->set_doing(fmt::format("the validation after step {}", step_));
  const ValidationLoss loss =
      validation_loss(model_->reader(), model_->parameters(), *data_.held_out[stage_],
                      stage.validate_sequences, model_->mesh().columns(), model_->workspace());
  if (loss.by_source.empty()) return;
  validation_loss_ = loss.all;
  if (!first()) return;
  metrics_->append({step_,
                    stage.name,
                    {{"validation_loss", loss.all}},
                    {{"validation_loss_by_source", loss.by_source}}});
  std::string sources;
  for (const auto& [source, value] : loss.by_source)
    sources += fmt::format("  {} {:.4f}", source, value);
  base::log_info(fmt::format("{} {}/{}  validation loss {:.4f} {}", stage.name, stage_step_,
                             stage.steps, loss.all, sources));
}

void Trainer::save(bool wait) {
  roll_backs_ = 0;
  const auto start = Clock::now();
  watch_->set_doing(fmt::format("writing the checkpoint of step {}", step_));
  const base::Path path = checkpoint_path(directory_, step_);
  // Called by the writer's thread while the training goes on, and by this one without a writer.
  const auto committed = [this, path, start] {
    watch_->set_advice("Start the same command again: it goes on from " + path.string() + ".");
    base::log_info(
        fmt::format("checkpoint {} written in {:.2f} s", path.string(), seconds_since(start)));
    try {
      if (first()) prune_checkpoints(directory_, run_.retention);
    } catch (const base::Error& error) {
      base::log_warning(fmt::format("an older checkpoint stays: {}", error.what()));
    }
  };
  if (writer_) {
    writer_->begin(path, model_->optimizer().pieces(), step_, state(), committed);
    if (wait) writer_->finish();
  } else {
    save_checkpoint(path, world_, model_->optimizer().pieces(), step_, state());
    committed();
  }
  checkpoint_s_ = seconds_since(start);
}

void Trainer::finish_stage(const StageConfig& stage, const AfterStage& after_stage) {
  const base::Path results = directory_ / "eval" / stage.name;
  std::int64_t there = first() && std::filesystem::exists(results / "results.json") ? 1 : 0;
  world_.all_reduce(std::span<std::int64_t>(&there, 1), parallel::Reduce::kMax);
  if (there != 0 || stage.tasks.empty() || !after_stage) return;
  watch_->set_doing("the evaluation after stage " + stage.name);
  model::Scorer scorer(model_->reader(), model_->parameters());
  after_stage(stage, scorer, *data_.tokenizer, model_->mesh().columns(), results);
}

Outcome Trainer::run(const AfterStage& after_stage) {
  began_ = Clock::now();
  watch_->set_advice(fresh_
                         ? "No checkpoint was written yet: start the same command again."
                         : "Start the same command again: it goes on from the newest checkpoint.");
  for (; stage_ < run_.stages.size(); ++stage_, stage_step_ = 0) {
    const StageConfig& stage = run_.stages[stage_];
    if (stage_step_ == 0) begin_stage();
    while (stage_step_ < stage.steps) {
      watch_->set_doing(fmt::format("step {} of stage {}", step_ + 1, stage.name));
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
        validate(stage);
      if (last_.stop || saves_after(step_)) save(last || last_.stop);
      if (last_.stop && !(last && stage_ + 1 == run_.stages.size())) {
        base::log_info(fmt::format(
            "stopped on request after step {}; the same command goes on from here", step_));
        return Outcome::kStopped;
      }
    }
    finish_stage(stage, after_stage);
    if (parallel::stop_requested_anywhere(world_) && stage_ + 1 < run_.stages.size())
      return Outcome::kStopped;
  }
  base::log_info(fmt::format("done: {} steps, {} tokens; everything lies in {}", step_, tokens_,
                             directory_.string()));
  return Outcome::kDone;
}

}  // namespace

int threads_for(std::int64_t configured, parallel::Communicator& world) {
  if (configured > 0) return static_cast<int>(configured);
  const std::string host = host_name();
  const auto hosts = world.all_gather(host);
  const auto beside = std::count(hosts.begin(), hosts.end(), host);
  return std::max(1, tensor::cores() / static_cast<int>(beside));
}

Outcome train(const RunConfig& config, parallel::Communicator& world, const TrainOptions& options,
              const AfterStage& after_stage) {
  tensor::set_thread_count(threads_for(config.threads, world));
  Trainer trainer(config, world, options);
  trainer.open();
  Outcome outcome = Outcome::kDone;
  if (options.check) {
    base::log_info(fmt::format("{}: everything fits: {} stages, {} steps on {} ranks", config.name,
                               config.stages.size(), config.total_steps(), world.size()));
  } else {
    trainer.resume_or_begin();
    outcome = trainer.run(after_stage);
  }
  trainer.finish();
  return outcome;
}

}  // namespace eyrie::trainer
