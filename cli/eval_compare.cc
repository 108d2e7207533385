// eyrie eval compare A B …: several results in one table.
#include <CLI/CLI.hpp>

#include "base/error.h"
#include "base/output.h"
#include "base/output_place.h"
#include "cli/command.h"
#include "cli/flags.h"
#include "eval/compare.h"

namespace eyrie::cli {

int run_eval_compare(int argc, char** argv) {
  std::vector<std::string> places;
  std::string output;
  CLI::App app(
      "Prints several results side by side, with a star at what differs from the first by more "
      "than chance (1.96 standard errors of the difference).",
      argv[0]);
  app.add_option("RESULTS", places,
                 "results.json, a folder that has one, or one that has such folders below it; of "
                 "Eyrie or lm-evaluation-harness")
      ->required();
  app.add_option("--output", output, "a file for the table too");
  if (const auto end = parse(app, argc, argv)) return *end;
  if (!output.empty()) base::check_output_file("--output", output);
  std::vector<eval::Scores> models;
  for (const std::string& place : places) models.push_back(eval::read_scores(place));
  const std::string table = eval::compare_table(models);
  base::print_text(table);
  if (!output.empty()) base::write_file(output, table);
  return base::kExitDone;
}

}  // namespace eyrie::cli
