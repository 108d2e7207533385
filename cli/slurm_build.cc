// eyrie slurm build DATA.yaml: submits a build of shards.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <filesystem>

#include "base/error.h"
#include "base/output.h"
#include "base/output_place.h"
#include "cli/command.h"
#include "cli/data_config.h"
#include "cli/flags.h"
#include "cli/slurm_checks.h"
#include "cli/slurm_flags.h"
#include "slurm/job_script.h"
#include "slurm/queue.h"
#include "text/task.h"

namespace eyrie::cli {

int run_slurm_build(int argc, char** argv) {
  std::string file, nodes = "1", dependency;
  std::vector<std::string> assignments;
  std::string data = text::default_evaluation_data().string();
  bool dry_run = false;
  slurm::Resources resources;
  CLI::App app(
      "Submits a build of shards (eyrie data build) to Slurm. A job that reaches its time limit "
      "goes back into the queue and goes on where it was.",
      argv[0]);
  app.add_option("DATA.yaml", file, "sources, tokenizer, exclusion (docs/data.md)")->required();
  app.add_option("ASSIGNMENTS", assignments, "key.path=value, over the file");
  app.add_option("--data", data, "the folder of the evaluation sets; also by $EYRIE_EVAL_DATA")
      ->capture_default_str();
  add_resource_flags(app, resources, nodes);
  app.add_option("--dependency", dependency, "as Slurm writes it: afterok:123");
  app.add_flag("--dry-run", dry_run, "write the script and submit nothing");
  if (const auto end = parse(app, argc, argv)) return *end;
  read_nodes(nodes, resources);
  if (resources.least_nodes != resources.most_nodes)
    throw base::InputError(fmt::format("--nodes {}: one number, for a build", nodes));
  check_partition(resources);
  const data_pipeline::DataConfig config =
      read_checked_data_config(file, assignments, text::TaskPlaces{data, {}});
  base::check_output_folder("output", config.output);
  slurm::BuildJob job{.name = {},
                      .directory = absolute_folder(config.output),
                      .folder = std::filesystem::current_path(),
                      .eyrie = eyrie_command(resources),
                      .arguments = {file}};
  job.name = job.directory.filename().string();
  job.arguments.insert(job.arguments.end(), assignments.begin(), assignments.end());
  job.arguments.insert(job.arguments.end(), {"--data", data});
  const base::Path script = job.directory / "slurm" / "build.sbatch";
  base::make_directories(slurm::logs_of(job.directory));
  base::write_file(script, slurm::build_script(job, resources, train_script()));
  if (dry_run) {
    base::print("{}\n\nnothing was submitted (--dry-run)\n", script.string());
    return base::kExitDone;
  }
  std::vector<std::string> options;
  if (!dependency.empty()) options.push_back("--dependency=" + dependency);
  const std::string id = slurm::submit(script, options);
  base::print("job {:>8}  builds {}; it prints to {}\n", id, job.directory.string(),
              (slurm::logs_of(job.directory) / fmt::format("build-{}.log", id)).string());
  return base::kExitDone;
}

}  // namespace eyrie::cli
