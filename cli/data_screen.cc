// eyrie data screen --tasks … FILE…: finds overlaps with evaluation sets; changes nothing.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "base/error.h"
#include "base/output.h"
#include "base/output_place.h"
#include "base/shown.h"
#include "base/version.h"
#include "cli/command.h"
#include "cli/flags.h"
#include "data_pipeline/build_identity.h"
#include "data_pipeline/file_patterns.h"
#include "data_pipeline/screen.h"
#include "parallel/communication/run_guarded.h"
#include "parallel/communication/same.h"
#include "text/task.h"

namespace eyrie::cli {

int run_data_screen(int argc, char** argv) {
  const auto world = parallel::open_world(argc, argv);
  std::vector<std::string> tasks, item_files, files, task_folders;
  std::string field = "text", output;
  std::int64_t most_shown = 20;
  std::string data = text::default_evaluation_data().string();
  CLI::App app(
      "Reports which documents share words with evaluation sets (docs/data.md); changes nothing.",
      argv[0]);
  app.add_option("FILE", files, "JSONL, plain or compressed by gzip or zstd")->required();
  app.add_option("--tasks", tasks, "tasks, separated by commas")
      ->delimiter(',')
      ->allow_extra_args(false);
  app.add_option("--items", item_files, "JSONL files of your own whose texts count as items")
      ->allow_extra_args(false);
  app.add_option("--text", field, "the JSON field of the text")->capture_default_str();
  app.add_option("--output", output, "write the whole report there, as JSON");
  add_whole(app, "--show", most_shown, "documents to name at the most", 0);
  app.add_option("--data", data, "the folder of the evaluation sets; also by $EYRIE_EVAL_DATA")
      ->capture_default_str();
  app.add_option("--include-path", task_folders, "more folders of task files")
      ->allow_extra_args(false);
  if (const auto end = parse(app, argc, argv, world->rank() == 0)) return *end;
  return parallel::run_guarded(*world, [&] {
    data_pipeline::ExclusionIndex index;
    std::vector<base::Path> paths;
    parallel::agree(*world, [&] {
      if (tasks.empty() && item_files.empty())
        throw base::InputError("eyrie data screen: nothing to screen for: name --tasks or --items");
      for (const std::string& pattern : files) {
        const std::vector<base::Path> found = data_pipeline::matching_files(pattern);
        paths.insert(paths.end(), found.begin(), found.end());
      }
      std::vector<std::string> items;
      for (const std::string& pattern : item_files)
        for (const base::Path& file : data_pipeline::matching_files(pattern))
          items.push_back(file.string());
      for (const std::vector<base::Path>& names :
           {paths, std::vector<base::Path>(items.begin(), items.end())})
        for (const base::Path& path : names)
          if (!base::is_utf8(path.string()))
            throw base::InputError(fmt::format(
                "{}: the name is not UTF-8, as reports need it; rename it", path.string()));
      if (world->rank() == 0) {  // before anything is read
        base::check_output_is_open();
        if (!output.empty()) base::check_output_file("--output", output);
      }
      index = data_pipeline::ExclusionIndex(tasks, items,
                                            {data, {task_folders.begin(), task_folders.end()}});
    });
    parallel::Facts facts;
    parallel::agree(*world, [&] {
      if (world->size() == 1) return;
      facts = {{"the version of eyrie", base::kVersion},
               {"what the evaluation items are", index.hash()},
               {"--text", field}};
      for (const base::Path& path : paths)
        facts.push_back(data_pipeline::file_fact(path.string(), path));
    });
    parallel::check_same(*world, facts);
    const data_pipeline::ScreenResult result =
        data_pipeline::screen_files(paths, field, index, *world);
    if (world->rank() != 0) return base::kExitDone;
    const auto shown = static_cast<std::size_t>(most_shown);
    for (std::size_t i = 0; i < std::min(shown, result.hits.size()); ++i) {
      const auto& hit = result.hits[i];
      base::print("{}:{}: {} words of {}: {}\n", hit.file, hit.line, hit.match.words,
                  base::shown(hit.match.item), base::shown(hit.match.text));
    }
    if (result.hits.size() > shown)
      base::print("… and {} more documents\n", result.hits.size() - shown);
    base::print("{}{} of {} documents share something\n",
                data_pipeline::report_table(data_pipeline::report_json(index, result.findings)),
                result.hits.size(), result.documents);
    if (!output.empty()) base::write_file(output, data_pipeline::to_json(result, index));
    return base::kExitDone;
  });
}

}  // namespace eyrie::cli
