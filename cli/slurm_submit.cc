// eyrie slurm submit RUN.yaml: checks a run for the nodes that it is to get, writes a batch script
// per stage into the run's folder, and submits them as a chain.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <ctime>
#include <filesystem>

#include "base/error.h"
#include "base/listing.h"
#include "base/log.h"
#include "base/number.h"
#include "base/output.h"
#include "base/resource.h"
#include "cli/command.h"
#include "cli/flags.h"
#include "cli/slurm_checks.h"
#include "parallel/communication/launch.h"
#include "parallel/communication/run_guarded.h"
#include "parallel/health/stop.h"
#include "planning/memory_limit.h"
#include "slurm/job_script.h"
#include "slurm/queue.h"
#include "slurm/run_jobs.h"
#include "trainer/trainer.h"

namespace eyrie::cli {
namespace {

struct Submission {
  std::string file, nodes = "1", dependency, machine;
  std::vector<std::string> assignments;
  slurm::Resources resources;
  bool dry_run = false;
};

// "4" or "2-4".
void read_nodes(const std::string& text, slurm::Resources& resources) {
  const std::size_t dash = text.find('-');
  const auto whole = [&](const std::string& number) {
    int value = 0;
    try {
      std::size_t used = 0;
      value = std::stoi(number, &used);
      if (used != number.size()) value = 0;
    } catch (const std::exception&) {
      value = 0;
    }
    if (value < 1)
      throw base::InputError(
          fmt::format("--nodes {}: a number of nodes (4), or the least and the most (2-4)", text));
    return value;
  };
  resources.least_nodes = whole(text.substr(0, dash));
  resources.most_nodes =
      dash == std::string::npos ? resources.least_nodes : whole(text.substr(dash + 1));
  if (resources.most_nodes < resources.least_nodes)
    throw base::InputError(fmt::format("--nodes {}: the least comes first", text));
}

std::string train_script() {
  const base::Path folder = base::find_resource("slurm", "slurm", "train.sbatch");
  if (folder.empty())
    throw base::Error("slurm/train.sbatch, which comes with Eyrie, was not found beside it");
  return base::read_file(folder / "train.sbatch");
}

// Refuses a second chain on a run.
void check_no_jobs(const base::Path& directory) {
  const auto there = slurm::read_jobs(directory);
  if (!there) return;
  for (const slurm::SubmittedJob& job : there->jobs) {
    const slurm::JobState state = slurm::job_state(job.id);
    if (state.is_alive())
      throw base::InputError(fmt::format(
          "job {} of this run (stage {}) is {}: `eyrie slurm cancel {}` ends it with a checkpoint",
          job.id, job.stage, state.state, directory.string()));
  }
}

// Writes the scripts; returns their paths in the order of the stages.
std::vector<base::Path> write_scripts(const trainer::RunConfig& run, const Submission& submission,
                                      const base::Path& directory) {
  const std::string body = train_script();
  std::error_code ignored;
  const base::Path self = std::filesystem::read_symlink("/proc/self/exe", ignored);
  base::make_directories(slurm::logs_of(directory));
  std::vector<base::Path> scripts;
  for (std::size_t i = 0; i < run.stages.size(); ++i) {
    slurm::StageJob job{.run = run.name,
                        .stage = run.stages[i].name,
                        .number = i,
                        .of = run.stages.size(),
                        .directory = directory,
                        .folder = std::filesystem::current_path(),
                        .eyrie = submission.resources.container.empty() ? self.string() : "eyrie",
                        .arguments = {submission.file}};
    job.arguments.insert(job.arguments.end(), submission.assignments.begin(),
                         submission.assignments.end());
    job.arguments.insert(job.arguments.end(), {"--until-stage", job.stage});
    scripts.push_back(slurm::script_of(directory, job.stage));
    base::write_file(scripts.back(), slurm::stage_script(job, submission.resources, body));
  }
  return scripts;
}

void submit_all(const trainer::RunConfig& run, const Submission& submission,
                const base::Path& directory, const std::vector<base::Path>& scripts) {
  slurm::RunJobs jobs{.submitted = std::time(nullptr),
                      .folder = std::filesystem::current_path().string(),
                      .run_file = submission.file,
                      .jobs = {}};
  for (std::size_t i = 0; i < scripts.size(); ++i) {
    std::vector<std::string> options;
    if (i > 0) {
      // If a stage fails for good, those after it leave the queue.
      options = {fmt::format("--dependency=afterok:{}", jobs.jobs.back().id),
                 "--kill-on-invalid-dep=yes"};
    } else if (!submission.dependency.empty()) {
      options = {"--dependency=" + submission.dependency};
    }
    jobs.jobs.push_back({slurm::submit(scripts[i], options), run.stages[i].name});
    slurm::write_jobs(directory, jobs);  // after each: what is in the queue is known
    base::print("job {:>8}  stage {}  {}\n", jobs.jobs.back().id, run.stages[i].name,
                scripts[i].string());
  }
  base::print(
      "\n`eyrie slurm status {0}` shows them, `eyrie slurm logs {0}` what they print, "
      "`eyrie slurm cancel {0}` ends them with a checkpoint.\n",
      run.directory);
}

}  // namespace

int run_slurm_submit(int argc, char** argv) {
  parallel::catch_stop_signals();
  const auto world = parallel::open_world(argc, argv);
  Submission submission;
  slurm::Resources& resources = submission.resources;
  resources.time = resources.partition = "";
  CLI::App app(
      "Submits a run to Slurm: one job per stage, each after the one before. Checks first what "
      "`eyrie train --check` checks, for the job's nodes (docs/slurm.md).",
      argv[0]);
  app.add_option("RUN.yaml", submission.file, "the run")->required();
  app.add_option("ASSIGNMENTS", submission.assignments, "key.path=value, over the file");
  app.add_option("--nodes", submission.nodes,
                 "how many, or the least and the most (2-4): a job then starts with what is there")
      ->capture_default_str();
  add_whole(app, "--tasks-per-node", resources.tasks_per_node, "ranks per node", 1, 1 << 12);
  add_whole(app, "--cpus-per-task", resources.cpus_per_task, "threads per rank", 1, 1 << 12);
  add_whole(app, "--gpus-per-node", resources.gpus_per_node, "GPUs per node", 0, 1 << 10);
  app.add_option("--partition", resources.partition, "Slurm's default where not given");
  app.add_option("--account", resources.account, "");
  app.add_option("--qos", resources.qos, "");
  app.add_option("--constraint", resources.constraint, "features of the nodes");
  app.add_option("--time", resources.time,
                 "limit of one start of a job, as 12:00:00 or 2-0; a stage may take several starts "
                 "(the partition's limit, or 24:00:00)");
  add_whole(app, "--signal", resources.signal_seconds,
            "seconds before the time limit at which the ranks save and end", 1, 86400);
  app.add_option("--dependency", submission.dependency,
                 "of the first job, as Slurm writes it: afterok:123");
  app.add_flag("--exclusive", resources.exclusive, "whole nodes");
  app.add_option("--container", resources.container, "an Apptainer image that has eyrie in it");
  app.add_option("--machine", submission.machine,
                 "YAML that describes the nodes, for the estimate of time (docs/planning.md); "
                 "else this machine is measured");
  app.add_flag("--dry-run", submission.dry_run, "write the scripts and submit nothing");
  if (const auto end = parse(app, argc, argv, world->rank() == 0)) return *end;
  parallel::restore_stop_signals();
  return parallel::run_guarded(*world, [&] {
    read_nodes(submission.nodes, resources);
    const slurm::Partition partition = check_partition(resources);
    if (resources.time.empty())
      resources.time = partition.time_limit > 0 ? slurm::time_text(partition.time_limit)
                                                : std::string("24:00:00");
    const trainer::RunConfig run = trainer::read_run(submission.file, submission.assignments);
    const base::Path directory = std::filesystem::absolute(run.directory).lexically_normal();
    resources.node_counts = fitting_node_counts(run, resources);
    trainer::TrainOptions options;
    options.check = true;
    options.hosts = resources.most_nodes;
    options.ranks = resources.most_nodes * resources.tasks_per_node;
    options.plan_memory = planning::plan_memory;
    trainer::train(run, *world, options, nullptr);
    check_memory_of_nodes(run, resources, partition);
    check_time(run, resources, submission.machine);
    check_shared_folder(directory, resources);
    check_no_jobs(directory);
    const auto scripts = write_scripts(run, submission, directory);
    if (submission.dry_run) {
      for (const base::Path& script : scripts) base::print("{}\n", script.string());
      base::print("\nnothing was submitted (--dry-run)\n");
      return base::kExitDone;
    }
    base::remove_tree(slurm::cancelled_mark(directory));
    submit_all(run, submission, directory, scripts);
    return base::kExitDone;
  });
}

}  // namespace eyrie::cli
