// eyrie train RUN.yaml [key.path=value …]: the main job.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>

#include "base/log.h"
#include "cli/command.h"
#include "cli/flags.h"
#include "eval/evaluate.h"
#include "eval/report.h"
#include "parallel/guard.h"
#include "parallel/launch.h"
#include "parallel/stop.h"
#include "trainer/trainer.h"

namespace eyrie::cli {
namespace {

// The one place where training meets evaluation: after each stage.
trainer::AfterStage evaluate_stage(const trainer::RunConfig& run, parallel::Communicator& world) {
  return [&](const trainer::StageConfig& stage, model::LanguageModel& model,
             const text::Tokenizer& tokenizer, parallel::Communicator& readers,
             const base::Path& directory) {
    eval::EvaluateOptions options;
    options.tasks = stage.tasks;
    options.places.data = run.evaluation_data;
    options.limits = stage.limits;
    options.model = fmt::format("{} after stage {}", run.directory, stage.name);
    const eval::Results results = eval::evaluate(model, tokenizer, readers, options);
    parallel::agree(world, [&] {
      if (world.rank() != 0) return;
      eval::write_results(results, directory, true);
      base::log_info("evaluation after stage " + stage.name + ":\n" + eval::results_table(results));
    });
  };
}

}  // namespace

int run_train(int argc, char** argv) {
  parallel::catch_stop_signals();
  const auto world = parallel::open_world(argc, argv);
  std::string file;
  std::vector<std::string> assignments;
  trainer::TrainOptions options;
  CLI::App app(
      "Trains a model as RUN.yaml says (docs/training.md). Goes on from the newest valid "
      "checkpoint of the run, if there is one.",
      argv[0]);
  app.add_option("RUN.yaml", file, "the run")->required();
  app.add_option("ASSIGNMENTS", assignments,
                 "key.path=value, over the file; list elements by number: stages.0.steps=10");
  app.add_flag("--fresh", options.fresh, "refuse to touch a run that is there already");
  auto* check = app.add_flag(
      "--check", options.check,
      "validate configuration, data, mesh, memory and the newest checkpoint, then stop");
  add_whole(app, "--ranks", options.ranks,
            "with --check: the ranks of the job to come, without starting them", 1, 1 << 20)
      ->default_str("")
      ->needs(check);
  add_whole(app, "--nodes", options.hosts, "with --ranks: on how many hosts", 1, 1 << 20)
      ->default_str("1")
      ->needs(app.get_option("--ranks"));
  std::optional<std::int64_t> stop_after;
  add_whole(app, "--stop-after", stop_after,
            "save and stop after this many steps of this start, with exit status 75", 1);
  bool alone = false;
  app.add_flag("--alone", alone,
               "train on this one rank, though the batch system's allocation is for several");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const bool help = error.get_exit_code() == 0;
    if (world->rank() == 0) app.exit(error);
    return help ? base::kExitDone : base::kExitInput;
  }
  options.stop_after = stop_after.value_or(0);
  if (options.check) parallel::leave_stop_signals();  // there is nothing to save
  return parallel::guard(*world, [&] {
    const parallel::UnusedAllocation unused = parallel::unused_allocation();
    if (!unused.empty() && !alone && !options.check) {
      throw base::InputError(
          fmt::format("this is {}, and eyrie train was started on one rank of it, which would "
                      "train alone. Start "
                      "it with `{} eyrie train {} …` (slurm/train.sbatch does so), or say --alone "
                      "if one rank is "
                      "meant",
                      unused.what, unused.launcher, file));
    }
    trainer::RunConfig run;
    parallel::agree(*world, [&] { run = trainer::read_run(file, assignments); });
    const auto outcome = trainer::train(run, *world, options, evaluate_stage(run, *world));
    return outcome == trainer::Outcome::kStopped ? base::kExitStopped : base::kExitDone;
  });
}

}  // namespace eyrie::cli
