// eyrie eval show TASK: shows one document as the model gets it, with its shots.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "base/error.h"
#include "base/output.h"
#include "cli/command.h"
#include "cli/flags.h"
#include "eval/show.h"

namespace eyrie::cli {

int run_eval_show(int argc, char** argv) {
  std::string task, data = text::default_evaluation_data().string();
  std::int64_t document = 0;
  std::optional<int> shots;
  std::vector<std::string> task_folders;
  CLI::App app("Shows one document of a task as the model gets it.", argv[0]);
  app.add_option("TASK", task, "a task (eyrie eval list)")->required();
  add_whole(app, "--doc", document, "the document, from 0", 0);
  add_whole(app, "--num-fewshot", shots, "shots in place of the task's own number", 0, 1 << 20);
  app.add_option("--data", data, "the folder of the evaluation sets; also by $EYRIE_EVAL_DATA")
      ->capture_default_str();
  app.add_option("--include-path", task_folders, "more folders of task files");
  if (const auto end = parse(app, argc, argv)) return *end;
  base::print("{}", eval::show_document(task, document, shots,
                                        {data, {task_folders.begin(), task_folders.end()}}));
  return base::kExitDone;
}

}  // namespace eyrie::cli
