// Text of the batch scripts.
#include "slurm/job_script.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"
#include "slurm/run_jobs.h"

namespace eyrie::slurm {
namespace {

// The line of slurm/train.sbatch after which nothing depends on the job.
constexpr const char* kBody = "# ---- from here on the same";

std::string safe_name(std::string name) {
  for (char& c : name)
    if (!isalnum(static_cast<unsigned char>(c)) && c != '-' && c != '_' && c != '.') c = '_';
  return name;
}

}  // namespace

base::Path script_of(const base::Path& directory, const std::string& stage) {
  return directory / "slurm" / (safe_name(stage) + ".sbatch");
}
base::Path starts_of(const base::Path& directory) { return directory / "slurm" / "starts.jsonl"; }
base::Path logs_of(const base::Path& directory) { return directory / "slurm" / "logs"; }

std::string quoted(const std::string& word) {
  if (!word.empty() && word.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                              "0123456789_-+=.,:/@%") == std::string::npos)
    return word;
  std::string text = "'";
  for (const char c : word) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return text + "'";
}

namespace {

// What is asked of Slurm. `output`: where the job prints.
std::string options_of(const std::string& name, const Resources& resources,
                       const std::string& output, const base::Path& folder) {
  std::string text;
  const auto option = [&](const std::string& key, const std::string& value) {
    if (!value.empty()) text += fmt::format("#SBATCH --{}={}\n", key, quoted(value));
  };
  const auto number = [&](const std::string& key, std::int64_t value) {
    if (value > 0) option(key, std::to_string(value));
  };
  option("job-name", safe_name(name));
  option("partition", resources.partition);
  option("account", resources.account);
  option("qos", resources.qos);
  option("constraint", resources.constraint);
  option("nodes", resources.least_nodes == resources.most_nodes
                      ? std::to_string(resources.most_nodes)
                      : fmt::format("{}-{}", resources.least_nodes, resources.most_nodes));
  if (resources.least_nodes == resources.most_nodes) {
    number("ntasks-per-node", resources.tasks_per_node);
    number("cpus-per-task", resources.cpus_per_task);
  } else {
    text +=
        "# Not as tasks: Slurm would count those of a requeued job for the nodes that it had "
        "before.\n";
    number("mincpus", std::int64_t{resources.tasks_per_node} * resources.cpus_per_task);
  }
  number("gpus-per-node", resources.gpus_per_node);
  if (resources.exclusive) text += "#SBATCH --exclusive\n";
  if (resources.memory_mb > 0) {
    text += "# Per node: what the plan needs, and a tenth.\n";
    option("mem", fmt::format("{}M", resources.memory_mb));
  }
  option("time", resources.time);
  text += fmt::format(
      "# {} seconds before the time limit every rank gets SIGUSR1, saves and ends; the script then "
      "puts the job back into the queue.\n",
      resources.signal_seconds);
  option("signal", fmt::format("USR1@{}", resources.signal_seconds));
  text +=
      "# After preemption and lost nodes too; its output goes on in the same file.\n#SBATCH "
      "--requeue\n#SBATCH --open-mode=append\n";
  option("output", output);
  option("chdir", folder.string());
  return text;
}

// What the body reads besides the arguments of eyrie.
std::string settings_of(const std::string& eyrie, const Resources& resources) {
  std::string text = fmt::format("\nEYRIE={}\n", quoted(eyrie));
  if (!resources.container.empty())
    text += fmt::format("EYRIE_CONTAINER={}\n", quoted(resources.container));
  if (resources.least_nodes != resources.most_nodes)
    text += fmt::format("EYRIE_NODES='{}' # numbers of nodes that fit the run's mesh\n",
                        fmt::join(resources.node_counts, " "));
  return text +
         fmt::format("EYRIE_TASKS_PER_NODE={}\nEYRIE_CPUS_PER_TASK={}\nEYRIE_SIGNAL_SECONDS={}\n",
                     resources.tasks_per_node, resources.cpus_per_task, resources.signal_seconds);
}

// Double quotes: $TMPDIR is that of the job.
std::string local_shards_of(const Resources& resources) {
  if (resources.local_shards.empty()) return "";
  return fmt::format("EYRIE_LOCAL_SHARDS=\"{}\"\n", resources.local_shards);
}

std::string body_of(const std::string& script) {
  const std::size_t begin = script.find(kBody);
  if (begin == std::string::npos)
    throw base::Error(fmt::format("slurm/train.sbatch has no line '{} …'", kBody));
  return script.substr(begin);
}

std::string words(const std::vector<std::string>& all) {
  std::string text;
  for (const std::string& word : all) text += (text.empty() ? "" : " ") + quoted(word);
  return text;
}

}  // namespace

std::string stage_script(const StageJob& job, const Resources& resources, const std::string& body) {
  const std::string log = (logs_of(job.directory) / (safe_name(job.stage) + "-%j.log")).string();
  std::string text = fmt::format(
      "#!/bin/bash\n"
      "# Stage {} ({} of {}) of the run {}. Written by `eyrie slurm submit`, which submits one "
      "such script per stage,\n"
      "# each to begin when the one before has ended well. Yours to edit: `sbatch {}` submits it "
      "again.\n\n",
      job.stage, job.number + 1, job.of, job.run,
      quoted(script_of(job.directory, job.stage).string()));
  text += options_of(job.run + "-" + job.stage, resources, log, job.folder);
  text += settings_of(job.eyrie, resources) + local_shards_of(resources);
  text += fmt::format("EYRIE_STAGE={}\nEYRIE_STARTS={}\n", quoted(job.stage),
                      quoted(starts_of(job.directory).string()));
  text += fmt::format("EYRIE_CANCELLED={}\n", quoted(cancelled_mark(job.directory).string()));
  text += fmt::format("# What eyrie train is told.\nset -- {}\n\n", words(job.arguments));
  return text + body_of(body);
}

base::Path array_script_of(const base::Path& directory) {
  return directory / "slurm" / "array.sbatch";
}

std::string array_script(const ArrayJob& job, const Resources& resources, const std::string& body) {
  const ArrayJob::Run& first = job.runs.front();
  std::vector<std::string> files, directories;
  for (const ArrayJob::Run& run : job.runs) {
    files.push_back(run.file);
    directories.push_back(run.directory.string());
  }
  std::string text = fmt::format(
      "#!/bin/bash\n"
      "# {} runs, each a task of one array. Written by `eyrie slurm submit`. Yours to edit: "
      "`sbatch {}` submits it again.\n\n"
      "#SBATCH --array=0-{}\n",
      job.runs.size(), quoted(array_script_of(first.directory).string()), job.runs.size() - 1);
  text += options_of(first.name + "-array", resources, "/dev/null", job.folder);
  text += settings_of(job.eyrie, resources) + local_shards_of(resources);
  text += fmt::format(
      "EYRIE_STAGE=all\nfiles=({})\ndirectories=({})\ndirectory=${{directories[$SLURM_ARRAY_TASK_"
      "ID]}}\n"
      "EYRIE_STARTS=$directory/slurm/starts.jsonl\nEYRIE_CANCELLED=$directory/slurm/cancelled\n"
      "exec >>\"$directory/slurm/logs/all-${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID.log\" 2>&1\n"
      "# What eyrie train is told.\nset -- \"${{files[$SLURM_ARRAY_TASK_ID]}}\" {}\n\n",
      words(files), words(directories), words(job.assignments));
  return text + body_of(body);
}

base::Path results_of(const base::Path& directory, const base::Path& checkpoint) {
  return directory / "eval" / checkpoint.filename();
}

std::string evaluation_script(const EvaluationJob& job, const Resources& resources,
                              const std::string& body) {
  std::vector<std::string> checkpoints, results;
  for (const base::Path& checkpoint : job.checkpoints) {
    checkpoints.push_back(checkpoint.string());
    results.push_back(results_of(job.directory, checkpoint).string());
  }
  std::string text = fmt::format(
      "#!/bin/bash\n"
      "# Evaluates {} checkpoints of the run {} on {} tasks, each pair a task of this array. "
      "Written by\n"
      "# `eyrie slurm evaluate`. Yours to edit.\n\n#SBATCH --array=0-{}\n",
      checkpoints.size(), job.run, job.tasks.size(), checkpoints.size() * job.tasks.size() - 1);
  text += options_of(job.run + "-evaluate", resources,
                     (logs_of(job.directory) / "evaluate-%A_%a.log").string(), job.folder);
  text += settings_of(job.eyrie, resources);
  text += fmt::format(
      "EYRIE_COMMAND=eval\nEYRIE_CANCELLED={}\ncheckpoints=({})\nresults=({})\ntasks=({})\n"
      "task=${{tasks[SLURM_ARRAY_TASK_ID % {}]}} number=$((SLURM_ARRAY_TASK_ID / {}))\n"
      "mkdir -p \"${{results[number]}}\"\n"
      "# What eyrie eval is told.\n"
      "set -- \"${{checkpoints[number]}}\" --tasks \"$task\" --output "
      "\"${{results[number]}}/$task\" {}\n\n",
      quoted(evaluations_cancelled_mark(job.directory).string()), words(checkpoints),
      words(results), words(job.tasks), job.tasks.size(), job.tasks.size(), words(job.arguments));
  return text + body_of(body);
}

std::string table_script(const EvaluationJob& job, const Resources& resources) {
  Resources one = resources;
  one.least_nodes = one.most_nodes = one.tasks_per_node = one.cpus_per_task = 1;
  one.gpus_per_node = 0;
  one.memory_mb = 200;
  one.exclusive = false;
  std::vector<std::string> results;
  for (const base::Path& checkpoint : job.checkpoints)
    results.push_back(results_of(job.directory, checkpoint).string());
  std::string text =
      "#!/bin/bash\n# One table of all results of an evaluation array. Written by `eyrie slurm "
      "evaluate`.\n\n";
  text += options_of(job.run + "-table", one, (logs_of(job.directory) / "table-%j.log").string(),
                     job.folder);
  const std::string container =
      resources.container.empty() ? "" : "apptainer exec " + quoted(resources.container) + " ";
  return text +
         fmt::format("\nexec {}{} eval compare --output {} {}\n", container, quoted(job.eyrie),
                     quoted((job.directory / "eval" / "checkpoints.md").string()), words(results));
}

std::string build_script(const BuildJob& job, const Resources& resources, const std::string& body) {
  std::string text =
      "#!/bin/bash\n# Builds shards. Written by `eyrie slurm build`. Yours to edit; submitted "
      "again "
      "it goes on where it was.\n\n";
  text += options_of(job.name + "-build", resources,
                     (logs_of(job.directory) / "build-%j.log").string(), job.folder);
  text += settings_of(job.eyrie, resources);
  text += fmt::format("EYRIE_COMMAND='data build'\n# What it is told.\nset -- {}\n\n",
                      words(job.arguments));
  return text + body_of(body);
}

}  // namespace eyrie::slurm
