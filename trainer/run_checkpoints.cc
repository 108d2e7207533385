// Checkpoints of a run: loads, saves, and what it goes on from.
#include "trainer/run_checkpoints.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>

#include "base/listing.h"
#include "base/log.h"
#include "checkpoint/list.h"
#include "checkpoint/reader.h"
#include "checkpoint/retention.h"
#include "checkpoint/save.h"
#include "parallel/health/slow_work.h"

namespace eyrie::trainer {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
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
      "from the start",
      (run / "checkpoints").string(), fmt::join(damaged, ", ")));
}

}  // namespace

RunCheckpoints::RunCheckpoints(OpenRun& run, TrainingModel* model, RunPosition& position,
                               OutlierDetector& outliers)
    : run_(run), model_(model), position_(position), outliers_(outliers) {}

// ---- Loading.

std::optional<base::Path> RunCheckpoints::newest(
    const std::function<void(const base::Path&)>& use) {
  std::vector<std::string> why_not;
  const auto newest =
      checkpoint::newest_valid_checkpoint(run_.directory(), run_.world(), &why_not, {}, use);
  if (run_.first()) {
    for (const std::string& why : why_not) base::log_warning(why);
  }
  parallel::agree(run_.world(), [&] {
    if (!run_.first()) return;
    if (!newest) refuse_damaged_run(run_.directory());
    passed_over_.clear();
    for (const checkpoint::CheckpointInfo& info :
         checkpoint::list_checkpoints(run_.directory() / "checkpoints")) {
      if (newest && info.path == *newest)
        passed_over_.clear();
      else
        passed_over_.insert(info.step);
    }
  });
  return newest;
}

std::string RunCheckpoints::check() {
  const auto found = newest({});
  std::string where;
  parallel::agree(run_.world(), [&] {
    if (!found) return;
    const checkpoint::CheckpointReader reader(*found);
    where = fmt::format("from step {} on, {}", position_in(reader).step, found->string());
  });
  return where;
}

bool RunCheckpoints::load_newest() {
  const auto found = newest([&](const base::Path& path) { load(path); });
  if (!found) return false;
  say_where(*found);
  return true;
}

bool RunCheckpoints::load_at_most(std::int64_t most) {
  const auto found = checkpoint::newest_valid_checkpoint(
      run_.directory(), run_.world(), nullptr, [&](std::int64_t step) { return step <= most; },
      [&](const base::Path& path) { load(path); });
  if (found) say_where(*found);
  return found.has_value();
}

bool RunCheckpoints::load_before(std::int64_t before) {
  // Not one that a stop wrote, which an uninterrupted run does not have, nor one among the skipped
  // steps.
  const std::int64_t wanted = position_.roll_backs.target, target = wanted < 0 ? before : wanted;
  const auto found = checkpoint::newest_valid_checkpoint(
      run_.directory(), run_.world(), nullptr,
      [&](std::int64_t step) { return step == wanted || (step <= target && saves_after(step)); },
      [&](const base::Path& path) { load(path); });
  if (found) say_where(*found);
  return found.has_value();
}

RunPosition RunCheckpoints::position_in(const checkpoint::CheckpointReader& reader) const {
  std::vector<std::string> warnings;
  const RunPosition position = trainer::position_in(reader, run_.identity(), warnings);
  check_tensors(reader, model_ != nullptr ? model_->griffin().units()
                                          : model::Griffin(run_.config().model).units());
  if (run_.first()) {
    for (const std::string& warning : warnings) base::log_warning(warning);
  }
  return position;
}

void RunCheckpoints::load(const base::Path& path) {
  const checkpoint::CheckpointReader reader(path);
  position_ = position_in(reader);
  outliers_.set_state(position_.outliers);
  RollBacks& roll_backs = position_.roll_backs;
  if (roll_backs.target < 0 && saves_after(position_.step) && outliers_.in_a_row() == 0)
    roll_backs.target = position_.step;
  position_.validation_loss.reset();
  loaded_ = position_.step;
  model_->optimizer().load(reader);
  model_->optimizer().set_updates(position_.updates);
}

void RunCheckpoints::say_where(const base::Path& path) const {
  base::log_info(fmt::format("going on from {} (stage {}, step {}, written by {})", path.string(),
                             run_.config().stages[position_.stage].name, position_.step,
                             base::counted(position_.ranks, "rank")));
}

void RunCheckpoints::remove_later(std::int64_t reached) {
  if (!run_.first()) return;
  run_.check_owner();
  for (const checkpoint::CheckpointInfo& info :
       checkpoint::list_checkpoints(run_.directory() / "checkpoints"))
    if (info.step > position_.step && info.step <= reached)
      checkpoint::remove_checkpoint(info.path);
}

std::string RunCheckpoints::set_aside_after(std::int64_t sound) {
  run_.check_owner();
  std::vector<base::Path> suspect;
  std::optional<std::int64_t> last;
  for (const checkpoint::CheckpointInfo& info :
       checkpoint::list_checkpoints(run_.directory() / "checkpoints")) {
    if (info.step > sound)
      suspect.push_back(info.path);
    else if (info.complete)
      last = info.step;
  }
  if (suspect.empty()) return "";
  if (!last && sound > 0)
    return fmt::format(
        "no checkpoint is left from before the last comparison (step {}), so all "
        "are kept: go back to an older copy, or begin anew",
        sound);
  const base::Path folder = run_.directory() / "suspect";
  base::make_directories(folder);
  for (const base::Path& path : suspect) {
    base::remove_tree(folder / path.filename());
    base::rename_file(path, folder / path.filename());
  }
  return fmt::format("{} written since the last comparison {} in {}; the next start goes on {}",
                     base::counted(std::ssize(suspect), "checkpoint"),
                     suspect.size() == 1 ? "is" : "are", folder.string(),
                     last ? fmt::format("from step {}", *last) : "from the beginning");
}

// ---- Saving.

void RunCheckpoints::start_writer() {
  if (run_.config().checkpoint_async)
    writer_ = std::make_unique<checkpoint::CheckpointWriter>(run_.world());
}

void RunCheckpoints::poll() {
  if (writer_) writer_->poll();
}

void RunCheckpoints::finish() {
  if (writer_) writer_->finish();
}

std::string RunCheckpoints::state() const {
  RunPosition position = position_;
  position.updates = model_->optimizer().updates();
  position.outliers = outliers_.state();
  return state_json(position, run_.identity());
}

void RunCheckpoints::save(bool wait) {
  const std::int64_t step = position_.step;
  RollBacks& roll_backs = position_.roll_backs;
  if (saves_after(step) && outliers_.in_a_row() == 0) roll_backs.target = step;
  passed_over_.erase(step);
  const auto start = Clock::now();
  run_.peer_monitor().set_doing(fmt::format("writing the checkpoint of step {} of stage {}", step,
                                            run_.config().stages[position_.stage].name));
  const base::Path path = checkpoint::checkpoint_path(run_.directory(), step);
  // Called by the writer's thread while training continues, or by this one if there is no writer.
  const checkpoint::InUse in_use{{step, loaded_, roll_backs.target}, passed_over_};
  const auto committed = [this, path, start, in_use] {
    run_.peer_monitor().set_advice("Start the same command again: it goes on from " +
                                   path.string() + ".");
    base::log_info(
        fmt::format("checkpoint {} written in {:.2f} s", path.string(), seconds_since(start)));
    try {
      if (!run_.first()) return;
      run_.check_owner();
      checkpoint::prune_checkpoints(run_.directory(), run_.config().retention, false, in_use);
    } catch (const std::exception& error) {
      base::log_warning(fmt::format("an older checkpoint stays: {}", error.what()));
    }
  };
  const auto may_write = [this] { run_.check_owner(); };
  if (writer_) {
    writer_->begin(path, model_->optimizer().checkpoint_pieces(), step, state(), committed,
                   may_write);
    if (wait) writer_->finish();
  } else {
    const parallel::SlowWork slow(run_.world());
    checkpoint::save_checkpoint(path, run_.world(), model_->optimizer().checkpoint_pieces(), step,
                                state(), may_write);
    committed();
    run_.world().barrier();  // while the first rank removes older ones
  }
  seconds_ = seconds_since(start);
}

bool RunCheckpoints::saves_after(std::int64_t step) const {
  const auto ends = run_.config().stage_ends();
  return std::find(ends.begin(), ends.end(), step) != ends.end() ||
         step % run_.config().checkpoint_every == 0;
}

}  // namespace eyrie::trainer
