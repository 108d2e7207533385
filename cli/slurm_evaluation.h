// What `slurm submit --evaluate` and `slurm evaluate` share: the jobs that evaluate checkpoints.
#pragma once

#include <string>
#include <vector>

#include "base/file.h"
#include "slurm/job_script.h"
#include "slurm/run_jobs.h"

namespace eyrie::cli {

struct EvaluationScripts {
  base::Path array, table;  // RUN/slurm/evaluate.sbatch, table.sbatch
};
EvaluationScripts write_evaluation(const slurm::EvaluationJob& job,
                                   const slurm::Resources& resources);

// Some of the checkpoints of an evaluation, which are evaluated by an array of their own.
struct EvaluationPart {
  std::size_t begin = 0, end = 0;    // of EvaluationJob.checkpoints
  std::vector<std::string> options;  // of sbatch: what it waits for
};

// Submits an array per part, and the job of the table after the last; prints their numbers. Adds
// them to `jobs`, and writes that into the run's folder.
void submit_evaluation(const slurm::EvaluationJob& job, const EvaluationScripts& scripts,
                       const std::vector<EvaluationPart>& parts, slurm::RunJobs& jobs);

// The evaluations of `jobs` that still wait or run.
std::vector<slurm::EvaluationEntry> alive_evaluations(const slurm::RunJobs& jobs);

// "2 RUNNING, 4 PENDING (Dependency)"; "ended" if Slurm does not know it any more.
std::string evaluation_state(const std::string& id);

}  // namespace eyrie::cli
