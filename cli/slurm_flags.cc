// Flags of commands that submit jobs.
#include "cli/slurm_flags.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <filesystem>
#include <system_error>

#include "base/error.h"
#include "base/file.h"
#include "base/resource.h"
#include "cli/flags.h"

namespace eyrie::cli {

void add_resource_flags(CLI::App& app, slurm::Resources& resources, std::string& nodes) {
  resources.time.clear();  // the partition's, or a day
  app.add_option("--nodes", nodes,
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
  app.add_flag("--exclusive", resources.exclusive, "whole nodes");
  app.add_option("--mem", resources.memory_mb,
                 "megabytes per node, in place of what the plan needs (and a tenth)")
      ->check(CLI::PositiveNumber);
  app.add_option("--container", resources.container, "an Apptainer image that has eyrie in it");
}

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

base::Path absolute_folder(const base::Path& folder) {
  const base::Path path = std::filesystem::absolute(folder).lexically_normal();
  return path.filename().empty() ? path.parent_path() : path;
}

std::string train_script() {
  const base::Path folder = base::find_resource("slurm", "slurm", "train.sbatch");
  if (folder.empty())
    throw base::Error("slurm/train.sbatch, which comes with Eyrie, was not found beside it");
  return base::read_file(folder / "train.sbatch");
}

std::string eyrie_command(const slurm::Resources& resources) {
  if (!resources.container.empty()) return "eyrie";
  std::error_code ignored;
  return std::filesystem::read_symlink("/proc/self/exe", ignored).string();
}

}  // namespace eyrie::cli
