// Evaluation jobs: scripts, submission, state.
#include "cli/slurm_evaluation.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>

#include "base/output.h"
#include "cli/slurm_flags.h"
#include "slurm/queue.h"

namespace eyrie::cli {

EvaluationScripts write_evaluation(const slurm::EvaluationJob& job,
                                   const slurm::Resources& resources) {
  const base::Path folder = job.directory / "slurm";
  const EvaluationScripts scripts{folder / "evaluate.sbatch", folder / "table.sbatch"};
  base::make_directories(slurm::logs_of(job.directory));
  base::write_file(scripts.array, slurm::evaluation_script(job, resources, train_script()));
  base::write_file(scripts.table, slurm::table_script(job, resources));
  return scripts;
}

void submit_evaluation(const slurm::EvaluationJob& job, const EvaluationScripts& scripts,
                       const std::vector<EvaluationPart>& parts, slurm::RunJobs& jobs) {
  base::remove_tree(slurm::evaluations_cancelled_mark(job.directory));
  const auto submitted = [&](const std::string& id, const std::string& what) {
    jobs.evaluations.push_back({id, what});
    slurm::write_jobs(job.directory, jobs);  // after each: what is in the queue is known
    base::print("job {:>8}  {}\n", id, what);
  };
  std::string arrays;
  for (const EvaluationPart& part : parts) {
    std::vector<std::string> options = part.options;
    options.push_back(fmt::format("--array={}-{}", part.begin * job.tasks.size(),
                                  part.end * job.tasks.size() - 1));
    const std::string id = slurm::submit(scripts.array, options);
    arrays += ":" + id;
    std::vector<std::string> names;
    for (std::size_t i = part.begin; i < part.end; ++i)
      names.push_back(job.checkpoints[i].filename().string());
    submitted(id, fmt::format("evaluation of {} on {}", fmt::join(names, ", "),
                              fmt::join(job.tasks, ", ")));
  }
  submitted(slurm::submit(scripts.table, {"--dependency=afterany" + arrays}),
            fmt::format("table of the evaluations: {}",
                        (job.directory / "eval" / "checkpoints.md").string()));
}

std::vector<slurm::EvaluationEntry> alive_evaluations(const slurm::RunJobs& jobs) {
  std::vector<slurm::EvaluationEntry> alive;
  for (const slurm::EvaluationEntry& one : jobs.evaluations) {
    const auto tasks = slurm::task_states(one.id);
    if (std::any_of(tasks.begin(), tasks.end(), [](const auto& task) { return task.is_alive(); }))
      alive.push_back(one);
  }
  return alive;
}

std::string evaluation_state(const std::string& id) {
  std::map<std::string, int> states;
  for (const slurm::JobState& task : slurm::task_states(id)) {
    const bool why = task.waits() || task.state == "FAILED" || task.state == "CANCELLED";
    states[why && !task.reason.empty() ? fmt::format("{} ({})", task.state, task.reason)
                                       : task.state] += task.tasks;
  }
  if (states.empty()) return "ended";
  std::vector<std::string> words;
  for (const auto& [state, tasks] : states) words.push_back(fmt::format("{} {}", tasks, state));
  return fmt::format("{}", fmt::join(words, ", "));
}

}  // namespace eyrie::cli
