// eyrie eval list: lists the known tasks, their data files, and whether these exist.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "base/error.h"
#include "base/output.h"
#include "cli/command.h"
#include "cli/flags.h"
#include "eval/show.h"

namespace eyrie::cli {

int run_eval_list(int argc, char** argv) {
  std::string data = text::default_evaluation_data().string();
  std::vector<std::string> task_folders;
  CLI::App app("Lists the tasks that eyrie eval knows.", argv[0]);
  app.add_option("--data", data, "the folder of the evaluation sets; also by $EYRIE_EVAL_DATA")
      ->capture_default_str();
  app.add_option("--include-path", task_folders, "more folders of task files");
  if (const auto end = parse(app, argc, argv)) return *end;
  base::print("{}", eval::list_tasks({data, {task_folders.begin(), task_folders.end()}}));
  return base::kExitDone;
}

}  // namespace eyrie::cli
