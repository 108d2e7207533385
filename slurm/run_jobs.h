// What a run's folder tells of its jobs: RUN/slurm/jobs.json, written by `eyrie slurm submit`, and
// RUN/slurm/starts.jsonl, to which the batch scripts add a line at each start and end
// (docs/formats/slurm.md).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/file.h"

namespace eyrie::slurm {

struct SubmittedJob {
  std::string id;     // "4711", or "4711_2" for a task of an array
  std::string stage;  // "all": of a run that is one job
};

// Jobs that evaluate the run's checkpoints, and the one that makes a table of the results.
struct EvaluationEntry {
  std::string id;    // "4713": of all tasks of an array
  std::string what;  // "step-00000400 on mmlu, piqa", "table"
};

struct RunJobs {
  std::int64_t submitted = 0;  // seconds since the epoch
  std::string folder;          // that the run file's paths start at
  std::string run_file;
  std::vector<SubmittedJob> jobs;  // in the order of the stages
  std::vector<EvaluationEntry> evaluations = {};
};

// Nothing if none were submitted. Throws InputError for a file that is none of these.
std::optional<RunJobs> read_jobs(const base::Path& directory);
void write_jobs(const base::Path& directory, const RunJobs& jobs);

// One start of a job.
struct Start {
  std::string job;
  std::int64_t number = 1;  // of the job's starts, from 1
  std::string stage, hosts;
  int nodes = 0, ranks = 0;
  std::int64_t began = 0;
  std::optional<std::int64_t> ended;  // nothing: it still runs, or its end was not seen
  int status = 0;
  std::string why;  // of its end: "done", "preempted", "time limit", "failed with status 1", …
};
// In order. Lines that were cut off by a crash are passed over.
std::vector<Start> read_starts(const base::Path& directory);

// While it is there, a job that stops with a checkpoint is not put back into the queue.
base::Path cancelled_mark(const base::Path& directory);
base::Path evaluations_cancelled_mark(const base::Path& directory);  // the same for evaluations

}  // namespace eyrie::slurm
