// eyrie slurm evaluate RUN: evaluates checkpoints on tasks as an array of jobs, with one table at
// the end.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <ctime>
#include <filesystem>
#include <optional>

#include "base/error.h"
#include "base/output.h"
#include "checkpoint/status.h"
#include "cli/command.h"
#include "cli/flags.h"
#include "cli/slurm_checks.h"
#include "cli/slurm_evaluation.h"
#include "cli/slurm_flags.h"
#include "text/task.h"

namespace eyrie::cli {
namespace {

// Those of the steps that are wanted; none: the newest.
std::vector<base::Path> checkpoints_of(const base::Path& run,
                                       const std::vector<std::int64_t>& steps) {
  std::vector<base::Path> found;
  std::vector<std::int64_t> there;
  for (const auto& info : checkpoint::checkpoints_at(run)) {
    if (!info.complete) continue;
    there.push_back(info.step);
    if (std::find(steps.begin(), steps.end(), info.step) != steps.end())
      found.push_back(std::filesystem::absolute(info.path).lexically_normal());
    if (steps.empty()) found = {std::filesystem::absolute(info.path).lexically_normal()};
  }
  for (const std::int64_t step : steps)
    if (std::find(there.begin(), there.end(), step) == there.end())
      throw base::InputError(fmt::format("--checkpoints {}: {} has those of {}", step, run.string(),
                                         fmt::join(there, ", ")));
  return found;
}

}  // namespace

int run_slurm_evaluate(int argc, char** argv) {
  std::string run, nodes = "1", dependency;
  std::vector<std::int64_t> steps;
  std::optional<std::int64_t> limit, shots;
  std::string data;
  bool dry_run = false;
  slurm::Resources resources;
  slurm::EvaluationJob job;
  CLI::App app(
      "Evaluates checkpoints of a run on tasks: an array of jobs, one per checkpoint and task, and "
      "after it a job that puts all results into one table (RUN/eval/checkpoints.md).",
      argv[0]);
  app.add_option("RUN", run, "the run's folder")->required();
  app.add_option("--tasks", job.tasks, "tasks and groups, separated by commas")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->required();
  app.add_option("--checkpoints", steps, "their steps, separated by commas; none: the newest")
      ->delimiter(',')
      ->allow_extra_args(false);
  add_whole(app, "--num-fewshot", shots, "shots in place of each task's own number", 0, 1 << 20);
  add_whole(app, "--limit", limit, "documents a leaf task; default: all", 1);
  app.add_option("--data", data, "the folder of the evaluation sets");
  add_resource_flags(app, resources, nodes);
  app.add_option("--dependency", dependency, "of the array, as Slurm writes it: afterok:123");
  app.add_flag("--dry-run", dry_run, "write the scripts and submit nothing");
  if (const auto end = parse(app, argc, argv)) return *end;
  read_nodes(nodes, resources);
  if (resources.least_nodes != resources.most_nodes)
    throw base::InputError(fmt::format("--nodes {}: one number, for an evaluation", nodes));
  check_partition(resources);
  const text::TaskCatalog catalog = text::read_tasks({});
  text::TaskPlaces places;
  if (!data.empty()) places.data = data;
  for (const std::string& task : job.tasks) text::open_tasks(task, catalog, places);
  job.directory = absolute_folder(run);
  job.run = job.directory.filename().string();
  job.checkpoints = checkpoints_of(job.directory, steps);
  job.folder = std::filesystem::current_path();
  job.eyrie = eyrie_command(resources);
  if (limit) job.arguments.insert(job.arguments.end(), {"--limit", std::to_string(*limit)});
  if (shots) job.arguments.insert(job.arguments.end(), {"--num-fewshot", std::to_string(*shots)});
  if (!data.empty()) job.arguments.insert(job.arguments.end(), {"--data", data});
  const EvaluationScripts scripts = write_evaluation(job, resources);
  if (dry_run) {
    base::print("{}\n{}\n\nnothing was submitted (--dry-run)\n", scripts.array.string(),
                scripts.table.string());
    return base::kExitDone;
  }
  EvaluationPart all{0, job.checkpoints.size(), {}};
  if (!dependency.empty()) all.options.push_back("--dependency=" + dependency);
  slurm::RunJobs jobs = slurm::read_jobs(job.directory)
                            .value_or(slurm::RunJobs{.submitted = std::time(nullptr),
                                                     .folder = job.folder.string(),
                                                     .run_file = "",
                                                     .jobs = {}});
  jobs.evaluations = alive_evaluations(jobs);
  submit_evaluation(job, scripts, {all}, jobs);
  return base::kExitDone;
}

}  // namespace eyrie::cli
