// The start of a run, its checkpoints, and its roll-backs to them.
#include "trainer/training_run.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <mutex>
#include <set>

#include "base/listing.h"
#include "base/log.h"
#include "base/output_place.h"
#include "base/process_name.h"
#include "checkpoint/list.h"
#include "checkpoint/reader.h"
#include "checkpoint/retention.h"
#include "checkpoint/save.h"
#include "parallel/health/slow_work.h"
#include "tensor/ops/matmul.h"
#include "tensor/threads.h"
#include "trainer/bytes.h"
#include "trainer/resolve_mesh.h"
#include "trainer/run_facts.h"
#include "trainer/run_folder.h"

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

// Throws InputError if all checkpoints of a run are damaged: a new start would overwrite what may
// still be recovered from them. Unfinished saves do not count: a run that died in its first save
// starts again.
void refuse_damaged_run(const base::Path& run) {
  std::vector<std::string> damaged;
  for (const checkpoint::CheckpointInfo& info : checkpoint::list_checkpoints(run / "checkpoints"))
    if (info.complete) damaged.push_back(info.path.filename().string());
  if (damaged.empty()) return;
  throw base::InputError(fmt::format(
      "{}: no checkpoint there is sound (damaged: {}; the warnings above say how). Put back a copy "
      "of one of them to go on from it, or give this run another name (or directory) to train it "
      "from the "
      "start",
      (run / "checkpoints").string(), fmt::join(damaged, ", ")));
}

}  // namespace

// Resolves the mesh for the ranks and hosts of this job, or for a check those of a planned one.
// `names`: the host of every rank.
parallel::MeshShape TrainingRun::fitted(const std::vector<std::string>& names) {
  const bool elsewhere = options_.check && options_.ranks > 0;
  int ranks = world_.size();
  auto hosts = static_cast<int>(std::set<std::string>(names.begin(), names.end()).size());
  auto here = static_cast<int>(
      std::count(names.begin(), names.end(), names[static_cast<std::size_t>(world_.rank())]));
  if (elsewhere) {
    ranks = options_.ranks;
    hosts = std::max(options_.hosts, 1);
    here = (ranks + hosts - 1) / hosts;
  }
  const parallel::MeshShape shape = resolve_mesh(run_, ranks, hosts);
  if (options_.plan_memory) planned_ = options_.plan_memory(run_, shape, here, elsewhere);
  const std::vector<std::string> warnings = {planned_.warning,
                                             elsewhere ? "" : check_threads(run_, options_.check)};
  for (const std::string& warning : warnings)
    if (first() && !warning.empty()) base::log_warning(warning);
  return shape;
}

void TrainingRun::open() {
  const auto names = world_.all_gather(base::host_name());
  parallel::agree(world_, [&] {
    shape_ = fitted(names);
    if (first() && options_.fresh && base::is_there(directory_)) {
      throw base::InputError(
          fmt::format("{} is there already and --fresh does not touch it; choose another name (or "
                      "directory), or leave out --fresh to go on",
                      directory_.string()));
    }
    if (first()) check_run_folder(run_);
    data_ = open_run_data(run_);
  });
  if (first()) {
    for (const std::string& warning : data_.warnings) base::log_warning(warning);
  }
  parallel::Facts facts;
  parallel::agree(world_, [&] { facts = data_facts(run_, data_); });
  parallel::check_same(world_, facts);
  if (!options_.check) {
    claim_folder();
    model_ = std::make_unique<TrainingModel>(run_, world_, shape_);
  }
  peer_monitor_ =
      std::make_unique<parallel::PeerMonitor>(world_, static_cast<double>(run_.watchdog_seconds));
}

void TrainingRun::claim_folder() {
  const auto processes = world_.gather(base::to_line(base::this_process()), 0);
  parallel::agree(world_, [&] {
    if (!first()) return;
    owner_ = std::make_unique<base::FolderOwner>(
        directory_,
        base::OwnerOptions{.what = "this run",
                           .instead = "to train another run beside it, give it another name (or "
                                      "directory)",
                           .processes = processes});
  });
  owner_mark_ = world_.all_gather(first() ? owner_->mark() : "")[0];
  parallel::agree(world_, [&] { base::see_owner(directory_, owner_mark_); });
}

void TrainingRun::check_owner() const { base::check_owner(directory_, owner_mark_); }

RunIdentity TrainingRun::identity() const {
  return {run_,   data_.tokenizer->hash(), data_.fingerprints(), tensor::thread_count(),
          shape_, data_.shards()};
}

std::string TrainingRun::state() const {
  return state_json(
      {step_, stage_, stage_step_, data_offset_, tokens_, model_->optimizer().updates(),
       validation_loss_, outliers_.state(), roll_backs_, 0, validation_due_},
      identity());
}

std::optional<base::Path> TrainingRun::newest_checkpoint(
    const std::function<void(const base::Path&)>& use) {
  std::vector<std::string> why_not;
  const auto newest = checkpoint::newest_valid_checkpoint(directory_, world_, &why_not, {}, use);
  if (first()) {
    for (const std::string& why : why_not) base::log_warning(why);
  }
  parallel::agree(world_, [&] {
    if (!first()) return;
    passed_over_.clear();
    for (const checkpoint::CheckpointInfo& info :
         checkpoint::list_checkpoints(directory_ / "checkpoints")) {
      if (!newest) passed_over_.insert(info.step);
      if (newest && info.path == *newest)
        passed_over_.clear();
      else if (newest)
        passed_over_.insert(info.step);
    }
  });
  return newest;
}

void TrainingRun::check() {
  const auto newest = newest_checkpoint({});
  std::string start = "from the beginning";
  if (first()) {
    if (const auto owner = base::owner_of(directory_))
      base::log_warning(fmt::format("{} is in use by {}: a start now would be refused",
                                    directory_.string(), *owner));
  }
  parallel::agree(world_, [&] {
    if (newest) {
      const checkpoint::CheckpointReader reader(*newest);
      start = fmt::format("from step {} on, {}", position_in(reader).step, newest->string());
    } else if (first()) {
      refuse_damaged_run(directory_);
    }
  });
  base::log_info(fmt::format(
      "{}: everything fits: {}, {} on {} ({}), {} a rank at the most; it would train {}", run_.name,
      base::counted(static_cast<std::int64_t>(run_.stages.size()), "stage"),
      base::counted(run_.total_steps(), "step"), base::counted(shape_.ranks(), "rank"),
      parallel::describe(shape_), bytes_text(planned_.bytes), start));
}

void TrainingRun::resume_or_begin() {
  const parallel::SlowWork slow(world_);  // reads as much as a save writes
  const auto newest = newest_checkpoint([&](const base::Path& path) { load(path); });
  parallel::agree(world_, [&] {
    if (!newest && first()) refuse_damaged_run(directory_);
  });
  if (newest) {
    say_where(*newest);
    model_->all_gather_parameters();
  } else {
    model_->initialise(static_cast<std::uint64_t>(run_.seed));
  }
  parallel::agree(world_, [&] {
    base::make_directories(directory_ / "log");
    base::log_to_directory((directory_ / "log").string(), world_.rank());
    // On each rank's host: its own part of every checkpoint is written there.
    base::check_output_folder("the run's directory", directory_ / "checkpoints", true);
    if (!first()) return;
    base::write_file(directory_ / "run.yaml", run_.resolved);
    metrics_ = std::make_unique<Metrics>(directory_ / "metrics.jsonl", step_);
  });
  if (run_.checkpoint_async) writer_ = std::make_unique<checkpoint::CheckpointWriter>(world_);
  stop_ = std::make_unique<parallel::StopNotice>(model_->mesh().data_context(),
                                                 &model_->mesh().tensor());
  const tensor::DType compute = model_->parameters().compute_dtype();
  std::vector<double> peaks = {matmul_peak(compute)};
  world_.all_reduce(std::span<double>(peaks), parallel::Reduce::kSum);
  peak_flops_ = peaks[0];
  base::log_info(fmt::format(
      "model {}; {} parameters, {}; {} of {} ({}); products reach {:.0f} GFLOP/s, {:.0f} a rank",
      model::title_of(run_.model, true), model::whole_parameter_count(model_->griffin().units()),
      name_of(compute), base::counted(world_.size(), "rank"),
      base::counted(tensor::thread_count(), "thread"), parallel::describe(model_->mesh().shape()),
      peak_flops_ * 1e-9, peak_flops_ * 1e-9 / world_.size()));
}

RunPosition TrainingRun::position_in(const checkpoint::CheckpointReader& reader) const {
  std::vector<std::string> warnings;
  const RunPosition position = trainer::position_in(reader, identity(), warnings);
  check_tensors(reader, model_ ? model_->griffin().units() : model::Griffin(run_.model).units());
  if (first()) {
    for (const std::string& warning : warnings) base::log_warning(warning);
  }
  return position;
}

void TrainingRun::load(const base::Path& checkpoint) {
  const checkpoint::CheckpointReader reader(checkpoint);
  const RunPosition position = position_in(reader);
  stage_ = position.stage;
  step_ = position.step;
  stage_step_ = position.stage_step;
  data_offset_ = position.data_offset;
  outliers_.set_state(position.outliers);
  roll_backs_ = position.roll_backs;
  if (roll_backs_.target < 0 && saves_after(step_) && outliers_.in_a_row() == 0)
    roll_backs_.target = step_;
  loaded_ = step_;
  validation_due_ = position.validation_due;
  tokens_ = position.tokens;
  model_->optimizer().load(reader);
  model_->optimizer().set_updates(position.updates);
  loaded_ranks_ = position.ranks;
  fresh_ = false;
}

void TrainingRun::say_where(const base::Path& checkpoint) const {
  base::log_info(fmt::format("going on from {} (stage {}, step {}, written by {})",
                             checkpoint.string(), run_.stages[stage_].name, step_,
                             base::counted(loaded_ranks_, "rank")));
}

void TrainingRun::save(bool wait) {
  if (saves_after(step_) && outliers_.in_a_row() == 0) roll_backs_.target = step_;
  passed_over_.erase(step_);
  const auto start = Clock::now();
  peer_monitor_->set_doing(fmt::format("writing the checkpoint of step {} of stage {}", step_,
                                       run_.stages[stage_].name));
  const base::Path path = checkpoint::checkpoint_path(directory_, step_);
  // Called by the writer's thread while training continues, or by this one if there is no writer.
  const checkpoint::InUse in_use{{step_, loaded_, roll_backs_.target}, passed_over_};
  const auto committed = [this, path, start, in_use] {
    peer_monitor_->set_advice("Start the same command again: it goes on from " + path.string() +
                              ".");
    base::log_info(
        fmt::format("checkpoint {} written in {:.2f} s", path.string(), seconds_since(start)));
    try {
      if (!first()) return;
      check_owner();
      checkpoint::prune_checkpoints(directory_, run_.retention, false, in_use);
    } catch (const std::exception& error) {
      base::log_warning(fmt::format("an older checkpoint stays: {}", error.what()));
    }
  };
  const auto may_write = [this] { check_owner(); };
  if (writer_) {
    writer_->begin(path, model_->optimizer().checkpoint_pieces(), step_, state(), committed,
                   may_write);
    if (wait) writer_->finish();
  } else {
    const parallel::SlowWork slow(world_);
    checkpoint::save_checkpoint(path, world_, model_->optimizer().checkpoint_pieces(), step_,
                                state(), may_write);
    committed();
    world_.barrier();  // while the first rank removes older ones
  }
  checkpoint_s_ = seconds_since(start);
}

// Whether an uninterrupted run writes a checkpoint after this step.
bool TrainingRun::saves_after(std::int64_t step) const {
  std::int64_t end = 0;
  for (const StageConfig& stage : run_.stages) {
    end += stage.steps;
    if (step == end) return true;
  }
  return step % run_.checkpoint_every == 0;
}

// After too many skipped steps in a row: returns to a checkpoint before them and skips the batches
// that were tried. Later checkpoints are no longer part of the run: they are removed, so that none
// of them is ever taken for the newest.
void TrainingRun::roll_back() {
  constexpr std::int64_t kTries = 3, kTimes = 10;
  if (writer_) writer_->finish();
  const std::int64_t row = outliers_.in_a_row(), before = step_ - row;
  const std::string here = fmt::format("{} steps in a row up to step {} of stage {} were skipped",
                                       row, step_, run_.stages[stage_].name);
  const std::string advice =
      "the training has diverged: lower the learning rate, or look at the data of these batches";
  if (roll_backs_.tries >= kTries)
    throw base::Error(
        fmt::format("{}, after {} roll-backs to the same checkpoint without a step "
                    "that was learnt from; {}",
                    here, kTries, advice));
  if (roll_backs_.last == roll_backs_.target && roll_backs_.times_last >= kTimes)
    throw base::Error(
        fmt::format("{}, after {} roll-backs to the same checkpoint; {}", here, kTimes, advice));
  // Not one that a stop wrote, which an uninterrupted run does not have, nor one among the skipped
  // steps.
  const std::int64_t target = roll_backs_.target < 0 ? before : roll_backs_.target;
  const std::size_t stage = stage_;
  const std::int64_t next_batch = stage_step_ + data_offset_, reached = step_;
  RollBacks now = roll_backs_;
  const auto newest = checkpoint::newest_valid_checkpoint(
      directory_, world_, nullptr,
      [&](std::int64_t step) {
        return step == now.target || (step <= target && saves_after(step));
      },
      [&](const base::Path& path) { load(path); });
  if (!newest)
    throw base::Error(fmt::format("{}, and there is no checkpoint {}; {}", here,
                                  now.target == 0 ? "yet" : "from before them", advice));
  say_where(*newest);
  model_->all_gather_parameters();
  if (stage_ + 1 == stage && stage_step_ == run_.stages[stage_].steps) {  // end of the stage before
    stage_ = stage;
    stage_step_ = 0;
    begin_stage();
  }
  if (stage_ != stage)
    throw base::Error(
        fmt::format("{}, and the newest checkpoint from before them is of stage {} (step {}): "
                    "change the run, and move the newer checkpoints away to go on from it; {}",
                    here, run_.stages[stage_].name, step_, advice));
  ++now.tries;
  now.times_last = now.last == step_ ? now.times_last + 1 : 1;
  now.last = now.target = step_;
  roll_backs_ = now;
  data_offset_ = next_batch - stage_step_;
  outliers_.forget_row();
  parallel::agree(world_, [&] {
    if (!first()) return;
    check_owner();
    for (const checkpoint::CheckpointInfo& info :
         checkpoint::list_checkpoints(directory_ / "checkpoints"))
      if (info.step > step_ && info.step <= reached) checkpoint::remove_checkpoint(info.path);
    metrics_ = std::make_unique<Metrics>(directory_ / "metrics.jsonl", step_);
  });
  if (first())
    base::log_warning(
        fmt::format("{}: rolled back to step {}; it goes on with batch {} of the "
                    "stage",
                    here, step_, next_batch));
}

}  // namespace eyrie::trainer
