// The batch scripts that `eyrie slurm submit` writes: a head of their own, which says what the job
// is, and the body of slurm/train.sbatch, which every job shares. People read and edit them.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/file.h"

namespace eyrie::slurm {

// What is asked of Slurm for each job of a run; empty or 0: not asked.
struct Resources {
  int least_nodes = 1, most_nodes = 1;
  std::vector<int> node_counts;  // those between that fit the run's mesh, in rising order
  int tasks_per_node = 1, cpus_per_task = 1, gpus_per_node = 0;
  std::int64_t memory_mb = 0;  // per node
  bool exclusive = false;
  std::string partition, account, qos, constraint;
  std::string time = "24:00:00";
  std::int64_t signal_seconds = 120;  // before the time limit
  std::string container;              // an Apptainer image, in which eyrie runs
  std::string local_shards;           // a folder on each node's own disk; a shell reads it there
};

struct StageJob {
  std::string run, stage;  // their names
  std::size_t number = 0, of = 0;
  base::Path directory;                // the run's, absolute
  base::Path folder;                   // that RUN.yaml's paths start at
  std::string eyrie;                   // the command
  std::vector<std::string> arguments;  // of eyrie train
};

// RUN/slurm/…, absolute like `directory`.
base::Path script_of(const base::Path& directory, const std::string& stage);
base::Path starts_of(const base::Path& directory);
base::Path logs_of(const base::Path& directory);

// One job that trains several runs at a time: its task N trains runs[N] from its first stage to its
// last. The runs have their own folders; the script and its name are those of the first.
struct ArrayJob {
  struct Run {
    std::string name;
    base::Path directory;  // absolute
    std::string file;      // RUN.yaml
  };
  std::vector<Run> runs;
  base::Path folder;  // that the files' paths start at
  std::string eyrie;
  std::vector<std::string> assignments;
};
base::Path array_script_of(const base::Path& directory);
std::string array_script(const ArrayJob& job, const Resources& resources, const std::string& body);

// An array that evaluates checkpoints on tasks: one of each per task of the array. Results go to
// RUN/eval/CHECKPOINT/TASK.
struct EvaluationJob {
  std::string run;
  base::Path directory;                 // the run's, absolute
  std::vector<base::Path> checkpoints;  // absolute
  std::vector<std::string> tasks;
  std::vector<std::string> arguments;  // more of eyrie eval
  base::Path folder;                   // that paths in them start at
  std::string eyrie;
};
base::Path results_of(const base::Path& directory, const base::Path& checkpoint);
std::string evaluation_script(const EvaluationJob& job, const Resources& resources,
                              const std::string& body);
// After it: prints all results as one table, and writes RUN/eval/checkpoints.md.
std::string table_script(const EvaluationJob& job, const Resources& resources);

// The script of one stage. `body`: slurm/train.sbatch as it comes with Eyrie. Throws Error if that
// has no body.
std::string stage_script(const StageJob& job, const Resources& resources, const std::string& body);

// A job that builds shards.
struct BuildJob {
  std::string name;      // of the shards' folder
  base::Path directory;  // that folder, absolute: script and logs are in its slurm/
  base::Path folder;     // that paths start at
  std::string eyrie;
  std::vector<std::string> arguments;  // of eyrie data build
};
std::string build_script(const BuildJob& job, const Resources& resources, const std::string& body);

// A word as a shell reads it.
std::string quoted(const std::string& word);

}  // namespace eyrie::slurm
