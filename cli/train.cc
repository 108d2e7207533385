// eyrie train RUN.yaml [key.path=value …]: trains a model.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <optional>
#include <span>

#include "base/file.h"
#include "base/log.h"
#include "cli/command.h"
#include "cli/flags.h"
#include "eval/answer_cache.h"
#include "eval/evaluation.h"
#include "eval/identity.h"
#include "eval/report.h"
#include "parallel/communication/launch.h"
#include "parallel/communication/run_guarded.h"
#include "parallel/health/stop.h"
#include "planning/memory_limit.h"
#include "trainer/trainer.h"

namespace eyrie::cli {
namespace {

// Whether the results of this stage already exist, for the same weights, tasks and settings.
bool is_done(const trainer::StageEnd& end, const std::string& identity) {
  const eval::ExistingOutput there = eval::inspect_output(end.directory, identity);
  if (there.kind == eval::ExistingOutput::Kind::kSame) {
    base::remove_tree(eval::AnswerCache::folder(end.directory));  // from an earlier attempt
    base::log_info(fmt::format("the results of stage {} are there already: {}", end.stage.name,
                               (end.directory / "results.json").string()));
    return true;
  }
  if (there.kind == eval::ExistingOutput::Kind::kOther)
    base::log_info(fmt::format("stage {} is evaluated anew: {}", end.stage.name, there.what));
  return false;
}

// For a stage that ended in an earlier start: its weights are no longer in memory, so it cannot be
// evaluated; differences are only reported.
void look_at_old_results(const trainer::StageEnd& end, const std::string& identity) {
  const eval::ExistingOutput there = eval::inspect_output(end.directory, identity, true);
  if (there.kind == eval::ExistingOutput::Kind::kSame) return;
  base::log_warning(fmt::format(
      "stage {} lies behind and is not evaluated any more: {}. Where its last checkpoint is kept, "
      "`eyrie eval` on it "
      "gives what is wanted",
      end.stage.name,
      there.what.empty() ? fmt::format("there are no results in {}", end.directory.string())
                         : there.what));
}

// The only connection between training and evaluation: called after each stage.
trainer::AfterStage evaluate_stage(const trainer::RunConfig& run, parallel::Communicator& world) {
  return [&](const trainer::StageEnd& end) {
    const std::string& stage = end.stage.name;
    eval::EvaluateOptions options;
    options.tasks = end.stage.tasks;
    options.places.data = run.evaluation_data;
    options.limits = end.stage.limits;
    options.model = fmt::format("{} after stage {}", run.directory, stage);
    options.subject = {end.weights, end.step, end.precision};
    std::optional<eval::Evaluation> evaluation;
    bool done = false;
    parallel::agree(world, [&] {
      if (end.model == nullptr && world.rank() != 0) return;
      evaluation.emplace(end.tokenizer, options);
      if (world.rank() != 0) return;
      if (end.model == nullptr) return look_at_old_results(end, evaluation->identity());
      done = is_done(end, evaluation->identity());
    });
    if (world.any(done) || end.model == nullptr) return true;
    evaluation->keep_in(end.directory);
    const auto results =
        evaluation->run(*end.model, {world, end.mesh.data_context(), &end.mesh.tensor()});
    if (!results) return false;
    parallel::agree(world, [&] {
      if (world.rank() != 0) return;
      // The table is logged first, so that it is not lost if the files cannot be written.
      base::log_info("evaluation after stage " + stage + ":\n" + eval::results_table(*results));
      eval::write_results(*results, end.directory, true);
    });
    return true;
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
  app.add_option("--until-stage", options.until_stage,
                 "end, with exit status 0, after this stage and its evaluation");
  app.add_option("--local-shards", options.local_shards,
                 "copy the shards to this folder first, once per node, and read them there");
  std::optional<std::int64_t> stop_after;
  add_whole(app, "--stop-after", stop_after,
            "save and stop after this many steps of this start, with exit status 75", 1);
  bool alone = false;
  app.add_flag("--alone", alone,
               "train on this one rank, though the batch system's allocation is for several");
  if (const auto end = parse(app, argc, argv, world->rank() == 0)) return *end;
  options.stop_after = stop_after.value_or(0);
  options.plan_memory = planning::plan_memory;
  if (options.check) parallel::restore_stop_signals();  // there is nothing to save
  return parallel::run_guarded(*world, [&] {
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
