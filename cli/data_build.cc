// eyrie data build DATA.yaml: turns documents into shards, on all ranks.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "base/log.h"
#include "base/output.h"
#include "cli/command.h"
#include "cli/data_config.h"
#include "cli/flags.h"
#include "cli/launched.h"
#include "data_pipeline/build.h"
#include "data_pipeline/exclusion.h"
#include "parallel/communication/run_guarded.h"
#include "text/task.h"

namespace eyrie::cli {

int run_data_build(int argc, char** argv) {
  const auto world = parallel::open_world(argc, argv);
  std::string file;
  std::vector<std::string> assignments, task_folders;
  std::string data = text::default_evaluation_data().string();
  CLI::App app(
      "Builds HDF5 shards from documents, without what evaluation sets hold (docs/data.md).",
      argv[0]);
  app.add_option("DATA.yaml", file, "sources, tokenizer, exclusion")->required();
  app.add_option("ASSIGNMENTS", assignments, "key.path=value, over the file");
  app.add_option("--data", data, "the folder of the evaluation sets; also by $EYRIE_EVAL_DATA")
      ->capture_default_str();
  app.add_option("--include-path", task_folders, "more folders of task files")
      ->allow_extra_args(false);
  if (const auto end = parse(app, argc, argv, world->rank() == 0)) return *end;
  warn_of_unused_allocation("data build");
  return parallel::run_guarded(*world, [&] {
    data_pipeline::DataConfig config;
    text::TaskPlaces places{data, {task_folders.begin(), task_folders.end()}};
    parallel::agree(*world, [&] { config = read_checked_data_config(file, assignments, places); });
    const data_pipeline::Dataset dataset = data_pipeline::build_dataset(config, places, *world);
    if (world->rank() == 0) {
      base::print("{}\n", data_pipeline::dataset_table(dataset));
      if (!dataset.exclusion_report.starts_with("{}"))
        base::print("evaluation items kept out:\n{}\n",
                    data_pipeline::report_table(dataset.exclusion_report));
      base::print("shards in {}; the whole report, items found and items too short by name in {}\n",
                  config.output.string(), data_pipeline::kDatasetFile);
    }
    return base::kExitDone;
  });
}

}  // namespace eyrie::cli
