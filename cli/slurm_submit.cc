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
#include "base/output.h"
#include "cli/command.h"
#include "cli/flags.h"
#include "cli/slurm_checks.h"
#include "cli/slurm_flags.h"
#include "parallel/communication/launch.h"
#include "parallel/communication/run_guarded.h"
#include "planning/memory_limit.h"
#include "slurm/job_script.h"
#include "slurm/queue.h"
#include "slurm/run_jobs.h"
#include "trainer/trainer.h"

namespace eyrie::cli {
namespace {

struct Submission {
  std::string nodes = "1", dependency, machine;
  std::vector<std::string> files, assignments;
  slurm::Resources resources;
  bool dry_run = false;
};

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

// A run of the submission, with its folder as an absolute path.
struct Planned {
  trainer::RunConfig run;
  base::Path directory;
  std::string file;
};

// Writes a script per stage; returns their paths in order.
std::vector<base::Path> write_stages(const Planned& planned, const Submission& submission) {
  const std::string body = train_script();
  const auto& stages = planned.run.stages;
  std::vector<base::Path> scripts;
  for (std::size_t i = 0; i < stages.size(); ++i) {
    slurm::StageJob job{.run = planned.run.name,
                        .stage = stages[i].name,
                        .number = i,
                        .of = stages.size(),
                        .directory = planned.directory,
                        .folder = std::filesystem::current_path(),
                        .eyrie = eyrie_command(submission.resources),
                        .arguments = {planned.file}};
    job.arguments.insert(job.arguments.end(), submission.assignments.begin(),
                         submission.assignments.end());
    job.arguments.insert(job.arguments.end(), {"--until-stage", job.stage});
    scripts.push_back(slurm::script_of(planned.directory, job.stage));
    base::write_file(scripts.back(), slurm::stage_script(job, submission.resources, body));
  }
  return scripts;
}

base::Path write_array(const std::vector<Planned>& runs, const Submission& submission) {
  slurm::ArrayJob job{.runs = {},
                      .folder = std::filesystem::current_path(),
                      .eyrie = eyrie_command(submission.resources),
                      .assignments = submission.assignments};
  for (const Planned& one : runs) job.runs.push_back({one.run.name, one.directory, one.file});
  const base::Path script = slurm::array_script_of(runs.front().directory);
  base::write_file(script, slurm::array_script(job, submission.resources, train_script()));
  return script;
}

slurm::RunJobs jobs_of(const Planned& planned) {
  return {.submitted = std::time(nullptr),
          .folder = std::filesystem::current_path().string(),
          .run_file = planned.file,
          .jobs = {}};
}

std::vector<std::string> first_options(const Submission& submission) {
  if (submission.dependency.empty()) return {};
  return {"--dependency=" + submission.dependency};
}

void submit_stages(const Planned& planned, const Submission& submission,
                   const std::vector<base::Path>& scripts) {
  slurm::RunJobs jobs = jobs_of(planned);
  for (std::size_t i = 0; i < scripts.size(); ++i) {
    // If a stage fails for good, those after it leave the queue.
    const auto options =
        i == 0 ? first_options(submission)
               : std::vector<std::string>{"--dependency=afterok:" + jobs.jobs.back().id,
                                          "--kill-on-invalid-dep=yes"};
    jobs.jobs.push_back({slurm::submit(scripts[i], options), planned.run.stages[i].name});
    slurm::write_jobs(planned.directory, jobs);  // after each: what is in the queue is known
    base::print("job {:>8}  stage {}  {}\n", jobs.jobs.back().id, planned.run.stages[i].name,
                scripts[i].string());
  }
}

void submit_array(const std::vector<Planned>& runs, const Submission& submission,
                  const base::Path& script) {
  const std::string id = slurm::submit(script, first_options(submission));
  for (std::size_t i = 0; i < runs.size(); ++i) {
    slurm::RunJobs jobs = jobs_of(runs[i]);
    jobs.jobs.push_back({fmt::format("{}_{}", id, i), "all"});
    slurm::write_jobs(runs[i].directory, jobs);
    base::print("job {:>8}  run {}\n", jobs.jobs.back().id, runs[i].run.name);
  }
}

// All that can be wrong with one run of the submission.
void check_run(const Planned& planned, parallel::Communicator& world, Submission& submission,
               const slurm::Partition& partition) {
  slurm::Resources& resources = submission.resources;
  resources.node_counts = fitting_node_counts(planned.run, resources);
  trainer::TrainOptions options;
  options.check = true;
  options.hosts = resources.node_counts.back();
  options.ranks = resources.node_counts.back() * resources.tasks_per_node;
  options.plan_memory = planning::plan_memory;
  trainer::train(planned.run, world, options, nullptr);
  check_memory_of_nodes(planned.run, resources, partition);
  check_time(planned.run, resources, submission.machine);
  check_shared_folder(planned.directory, resources);
  check_no_jobs(planned.directory);
}

}  // namespace

int run_slurm_submit(int argc, char** argv) {
  const auto world = parallel::open_world(argc, argv);
  Submission submission;
  slurm::Resources& resources = submission.resources;
  CLI::App app(
      "Submits a run to Slurm: one job per stage, each after the one before. Checks first what "
      "`eyrie train --check` checks, for the job's nodes (docs/slurm.md). Several runs are "
      "submitted as one array.",
      argv[0]);
  std::vector<std::string> words;
  app.add_option(
         "RUN.yaml", words,
         "the run, then key.path=value over the file; several runs become one array, each a "
         "task of it")
      ->required();
  add_resource_flags(app, resources, submission.nodes);
  app.add_option("--dependency", submission.dependency,
                 "of the first job, as Slurm writes it: afterok:123");
  app.add_option("--machine", submission.machine,
                 "YAML that describes the nodes, for the estimate of time (docs/planning.md); "
                 "else this machine is measured");
  app.add_flag("--dry-run", submission.dry_run, "write the scripts and submit nothing");
  if (const auto end = parse(app, argc, argv, world->rank() == 0)) return *end;
  return parallel::run_guarded(*world, [&] {
    for (const std::string& word : words)
      (word.find('=') == std::string::npos || base::is_there(word) ? submission.files
                                                                   : submission.assignments)
          .push_back(word);
    if (submission.files.empty()) throw base::InputError("no RUN.yaml is named");
    read_nodes(submission.nodes, resources);
    const slurm::Partition partition = check_partition(resources);
    std::vector<Planned> runs;
    std::int64_t memory_mb = 0;
    std::vector<int> node_counts;  // those that fit every run
    for (const std::string& file : submission.files) {
      trainer::RunConfig run = trainer::read_run(file, submission.assignments);
      const base::Path directory = std::filesystem::absolute(run.directory).lexically_normal();
      runs.push_back({std::move(run), directory, file});
      check_run(runs.back(), *world, submission, partition);
      memory_mb = std::max(memory_mb, resources.memory_mb);
      if (runs.size() == 1) node_counts = resources.node_counts;
      std::erase_if(node_counts, [&](int nodes) {
        return std::find(resources.node_counts.begin(), resources.node_counts.end(), nodes) ==
               resources.node_counts.end();
      });
    }
    if (node_counts.empty())
      throw base::InputError(fmt::format(
          "--nodes {}: no number of nodes fits the meshes of all these runs", submission.nodes));
    resources.memory_mb = memory_mb;
    resources.node_counts = node_counts;
    for (const Planned& one : runs) base::make_directories(slurm::logs_of(one.directory));
    const bool array = runs.size() > 1;
    const auto scripts =
        array ? std::vector{write_array(runs, submission)} : write_stages(runs.front(), submission);
    if (submission.dry_run) {
      for (const base::Path& script : scripts) base::print("{}\n", script.string());
      base::print("\nnothing was submitted (--dry-run)\n");
      return base::kExitDone;
    }
    for (const Planned& one : runs) base::remove_tree(slurm::cancelled_mark(one.directory));
    array ? submit_array(runs, submission, scripts.front())
          : submit_stages(runs.front(), submission, scripts);
    base::print(
        "\n`eyrie slurm status {0}` shows where it is, `eyrie slurm logs {0}` what it prints, "
        "`eyrie slurm cancel {0}` ends it with a checkpoint.\n",
        runs.front().run.directory);
    return base::kExitDone;
  });
}

}  // namespace eyrie::cli
