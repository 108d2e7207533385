// eyrie slurm submit RUN.yaml: checks a run for the nodes that it is to get, writes a batch script
// per stage into the run's folder, and submits them as a chain.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <ctime>
#include <filesystem>
#include <optional>

#include "base/error.h"
#include "base/listing.h"
#include "base/log.h"
#include "base/output.h"
#include "checkpoint/list.h"
#include "cli/command.h"
#include "cli/flags.h"
#include "cli/slurm_checks.h"
#include "cli/slurm_evaluation.h"
#include "cli/slurm_flags.h"
#include "eval/evaluation.h"
#include "parallel/communication/launch.h"
#include "parallel/communication/run_guarded.h"
#include "planning/memory_limit.h"
#include "slurm/job_script.h"
#include "slurm/queue.h"
#include "slurm/run_jobs.h"
#include "text/tokenizer.h"
#include "trainer/screening.h"
#include "trainer/trainer.h"

namespace eyrie::cli {
namespace {

struct Submission {
  std::string nodes = "1", dependency, machine;
  std::vector<std::string> files, assignments;
  std::vector<std::string> evaluated_tasks;  // after each stage, by jobs of their own
  std::optional<std::int64_t> evaluated_documents;
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

// The checkpoints at which stages end, on the tasks.
slurm::EvaluationJob evaluation_of(const Planned& planned, const Submission& submission) {
  slurm::EvaluationJob job{.run = planned.run.name,
                           .directory = planned.directory,
                           .checkpoints = {},
                           .tasks = submission.evaluated_tasks,
                           .arguments = {"--data", planned.run.evaluation_data},
                           .folder = std::filesystem::current_path(),
                           .eyrie = eyrie_command(submission.resources)};
  for (const std::int64_t step : planned.run.stage_ends())
    job.checkpoints.push_back(checkpoint::checkpoint_path(planned.directory, step));
  if (submission.evaluated_documents)
    job.arguments.insert(job.arguments.end(),
                         {"--limit", std::to_string(*submission.evaluated_documents)});
  return job;
}

// Refuses tasks that are not there, that the training data was not screened for, or checkpoints
// that would be gone before they are evaluated.
void check_evaluation(const Planned& planned, const Submission& submission) {
  const trainer::RunConfig& run = planned.run;
  if (run.retention.stage_ends.empty())
    throw run.error("checkpoint.keep_stage_ends",
                    "--evaluate needs the checkpoints at which stages end: set it to true");
  const auto tokenizer = text::open_tokenizer(run.tokenizer);
  eval::EvaluateOptions options;
  options.tasks = submission.evaluated_tasks;
  options.places.data = run.evaluation_data;
  if (submission.evaluated_documents) options.limits[""] = *submission.evaluated_documents;
  const eval::Evaluation evaluation(*tokenizer, options);
  const auto warnings = trainer::screening_warnings(run.resolved, evaluation.contents());
  if (!warnings.empty())
    throw base::InputError(
        fmt::format("--evaluate {}: {}", fmt::join(options.tasks, ","), fmt::join(warnings, "\n")));
}

// An array per stage, as soon as that has ended.
void submit_evaluations(const Planned& planned, const Submission& submission,
                        slurm::RunJobs& jobs) {
  const slurm::EvaluationJob job = evaluation_of(planned, submission);
  const EvaluationScripts scripts = write_evaluation(job, submission.resources);
  std::vector<EvaluationPart> parts;
  for (std::size_t i = 0; i < jobs.jobs.size(); ++i)
    parts.push_back(
        {i, i + 1, {"--dependency=afterok:" + jobs.jobs[i].id, "--kill-on-invalid-dep=yes"}});
  submit_evaluation(job, scripts, parts, jobs);
}

// With the evaluations of earlier submissions that still wait or run.
slurm::RunJobs jobs_of(const Planned& planned) {
  const auto there = slurm::read_jobs(planned.directory);
  return {.submitted = std::time(nullptr),
          .folder = std::filesystem::current_path().string(),
          .run_file = planned.file,
          .jobs = {},
          .evaluations = there ? alive_evaluations(*there) : std::vector<slurm::EvaluationEntry>()};
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
  if (!submission.evaluated_tasks.empty()) submit_evaluations(planned, submission, jobs);
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
  if (!submission.evaluated_tasks.empty()) check_evaluation(planned, submission);
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
  app.add_option("--evaluate", submission.evaluated_tasks,
                 "tasks and groups, separated by commas: the end of each stage is evaluated on "
                 "them by jobs of their own, while the next stage trains")
      ->delimiter(',')
      ->allow_extra_args(false);
  add_whole(app, "--evaluate-limit", submission.evaluated_documents,
            "documents a leaf task; default: all", 1)
      ->needs("--evaluate");
  app.add_option("--local-shards", resources.local_shards,
                 "a folder on each node's own disk, to which the shards are copied first; in "
                 "'single quotes' $TMPDIR is that of the job");
  app.add_flag("--dry-run", submission.dry_run, "write the scripts and submit nothing");
  if (const auto end = parse(app, argc, argv, world->rank() == 0)) return *end;
  return parallel::run_guarded(*world, [&] {
    for (const std::string& word : words)
      (word.find('=') == std::string::npos || base::is_there(word) ? submission.files
                                                                   : submission.assignments)
          .push_back(word);
    if (submission.files.empty()) throw base::InputError("no RUN.yaml is named");
    read_nodes(submission.nodes, resources);
    if (submission.files.size() > 1 && !submission.evaluated_tasks.empty())
      throw base::InputError(
          "--evaluate is for one run; of several, `eyrie slurm evaluate` evaluates each");
    const std::int64_t memory_asked = resources.memory_mb;
    const slurm::Partition partition = check_partition(resources);
    std::vector<Planned> runs;
    std::int64_t memory_mb = 0;
    std::vector<int> node_counts;  // those that fit every run
    for (const std::string& file : submission.files) {
      trainer::RunConfig run = trainer::read_run(file, submission.assignments);
      const base::Path directory = absolute_folder(run.directory);
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
    if (memory_asked > 0 && memory_asked < memory_mb)
      base::log_warning(fmt::format("--mem {}: by the plan a node needs {} MB, a tenth included",
                                    memory_asked, memory_mb));
    resources.memory_mb = memory_asked > 0 ? memory_asked : memory_mb;
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
