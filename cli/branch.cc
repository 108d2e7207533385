// eyrie branch RUN --at STEP NEW.yaml …: new runs that go on from a checkpoint of another.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "base/error.h"
#include "base/output.h"
#include "cli/command.h"
#include "cli/flags.h"
#include "trainer/branch.h"

namespace eyrie::cli {

int run_branch(int argc, char** argv) {
  std::string trunk;
  std::int64_t step = 0;
  std::vector<std::string> files;
  CLI::App app(
      "Begins new runs from a checkpoint of another: many ends of one trunk. A new run has the "
      "trunk's stages up to there, with `steps` of the last of them such that it ends or goes on "
      "as wanted. The checkpoint's files are shared by hard links where possible.",
      argv[0]);
  app.add_option("RUN", trunk, "the folder of the run to branch")->required();
  app.add_option("NEW.yaml", files, "the new runs")->required();
  add_whole(app, "--at", step, "the step of the checkpoint (`eyrie checkpoint list`)", 1)
      ->default_str("")
      ->required();
  if (const auto end = parse(app, argc, argv)) return *end;
  std::vector<trainer::RunConfig> runs;  // all are read before any is begun
  for (const std::string& file : files) runs.push_back(trainer::read_run(file, {}));
  for (std::size_t i = 0; i < runs.size(); ++i) {
    trainer::branch_run(trunk, step, runs[i]);
    base::print("{} begins at step {} of {}: `eyrie train {}` goes on from there\n",
                runs[i].directory, step, trunk, files[i]);
    base::flush_output();
  }
  return base::kExitDone;
}

}  // namespace eyrie::cli
