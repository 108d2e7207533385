// Text of the batch scripts.
#include "slurm/job_script.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"

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

std::string stage_script(const StageJob& job, const Resources& resources, const std::string& body) {
  const std::size_t begin = body.find(kBody);
  if (begin == std::string::npos)
    throw base::Error(fmt::format("slurm/train.sbatch has no line '{} …'", kBody));
  std::string text = fmt::format(
      "#!/bin/bash\n"
      "# Stage {} ({} of {}) of the run {}. Written by `eyrie slurm submit`, which submits one "
      "such script per stage,\n"
      "# each to begin when the one before has ended well. Yours to edit: `sbatch {}` submits it "
      "again.\n\n",
      job.stage, job.number + 1, job.of, job.run,
      quoted(script_of(job.directory, job.stage).string()));
  const auto option = [&](const std::string& name, const std::string& value) {
    if (!value.empty()) text += fmt::format("#SBATCH --{}={}\n", name, quoted(value));
  };
  const auto number = [&](const std::string& name, std::int64_t value) {
    if (value > 0) option(name, std::to_string(value));
  };
  option("job-name", safe_name(job.run + "-" + job.stage));
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
  option("output", (logs_of(job.directory) / (safe_name(job.stage) + "-%j.log")).string());
  option("chdir", job.folder.string());
  text += fmt::format("\nEYRIE={}\n", quoted(job.eyrie));
  if (!resources.container.empty())
    text += fmt::format("EYRIE_CONTAINER={}\n", quoted(resources.container));
  if (resources.least_nodes != resources.most_nodes)
    text += fmt::format("EYRIE_NODES='{}' # numbers of nodes that fit the run's mesh\n",
                        fmt::join(resources.node_counts, " "));
  text += fmt::format("EYRIE_TASKS_PER_NODE={}\nEYRIE_CPUS_PER_TASK={}\n", resources.tasks_per_node,
                      resources.cpus_per_task);
  text +=
      fmt::format("EYRIE_STAGE={}\nEYRIE_STARTS={}\nEYRIE_SIGNAL_SECONDS={}\n", quoted(job.stage),
                  quoted(starts_of(job.directory).string()), resources.signal_seconds);
  text += "# What eyrie train is told.\nset --";
  for (const std::string& argument : job.arguments) text += " " + quoted(argument);
  return text + "\n\n" + body.substr(begin);
}

}  // namespace eyrie::slurm
