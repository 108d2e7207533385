// Branches a run.
#include "trainer/branch.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/listing.h"
#include "base/owner.h"
#include "checkpoint/list.h"
#include "checkpoint/status.h"
#include "parallel/communication/communicator.h"
#include "trainer/metrics.h"
#include "trainer/open_run.h"
#include "trainer/run_checkpoints.h"

namespace eyrie::trainer {
namespace {

base::Path checkpoint_to_branch(const base::Path& trunk, std::int64_t step) {
  std::vector<std::int64_t> there;
  for (const checkpoint::CheckpointInfo& info : checkpoint::checkpoints_at(trunk))
    if (info.complete) there.push_back(info.step);
  if (std::find(there.begin(), there.end(), step) == there.end())
    throw base::InputError(fmt::format("{} has no checkpoint of step {}; it has those of {}",
                                       trunk.string(), step, fmt::join(there, ", ")));
  const base::Path path = checkpoint::checkpoint_path(trunk, step);
  if (const auto faults = checkpoint::faults_of(path); !faults.empty())
    throw base::InputError(
        fmt::format("{} is damaged and is not branched: {}", path.string(), faults.front()));
  return path;
}

// Under a name that is no checkpoint's, then under its own.
void link_checkpoint(const base::Path& from, const base::Path& to) {
  const base::Path beside = base::temporary_name(to);
  base::make_directories(beside);
  try {
    for (const base::Path& file : base::list_folder(from))
      base::link_file(file, beside / file.filename());
    base::sync_directory(beside);
    base::rename_file(beside, to);
  } catch (...) {
    base::remove_tree(beside);
    throw;
  }
}

// What resuming checks, on as many ranks as the mesh asks for.
void check_start(const RunConfig& config) {
  const auto alone = parallel::open_single();
  TrainOptions options;
  options.check = true;
  options.ranks = std::max(config.mesh.data, 1) * config.mesh.context * config.mesh.tensor;
  options.hosts = 1;
  OpenRun run(config, *alone, options);
  RunPosition position;
  OutlierDetector outliers(config.outliers);
  RunCheckpoints(run, nullptr, position, outliers).check();
  run.peer_monitor().finish();
}

}  // namespace

void branch_run(const base::Path& trunk, std::int64_t step, const RunConfig& run) {
  const base::Path directory = run.directory, checkpoints = directory / "checkpoints";
  if (std::filesystem::weakly_canonical(directory) == std::filesystem::weakly_canonical(trunk))
    throw run.error("directory", fmt::format("this is the run that is branched, {}: give the new "
                                             "run a name (or directory) of its own",
                                             trunk.string()));
  const bool was_there = base::is_there(directory);
  // Another branch, or a start of the run, at the same time is refused. Removes an empty folder.
  const base::FolderOwner owner(directory, {.what = "this run"});
  if (!checkpoint::list_checkpoints(checkpoints).empty())
    throw run.error(
        "directory",
        fmt::format("{} has checkpoints already: a branch begins a new run", directory.string()));
  const base::Path from = checkpoint_to_branch(trunk, step);
  const bool had_folder = base::is_there(checkpoints);
  const base::Path to = checkpoint::checkpoint_path(directory, step);
  base::make_directories(checkpoints);
  try {
    link_checkpoint(from, to);
    check_start(run);
    if (base::is_there(trunk / "metrics.jsonl")) {
      base::write_file(directory / "metrics.jsonl", base::read_file(trunk / "metrics.jsonl"));
      const Metrics up_to_here(directory / "metrics.jsonl", step);
    }
    const nlohmann::json origin = {
        {"version", 1}, {"from", std::filesystem::absolute(trunk).string()}, {"step", step}};
    base::write_file(directory / "branch.json", origin.dump(2) + "\n");
  } catch (...) {
    base::remove_tree(had_folder ? to : checkpoints);
    if (!was_there) base::remove_tree(directory / "metrics.jsonl");
    throw;
  }
}

}  // namespace eyrie::trainer
