// eyrie eval MODEL --tasks a,b: scores a model on benchmarks, with lm-evaluation-harness's numbers.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <optional>

#include "base/error.h"
#include "base/log.h"
#include "base/output.h"
#include "base/output_place.h"
#include "checkpoint/open_model.h"
#include "cli/command.h"
#include "cli/flags.h"
#include "cli/launched.h"
#include "eval/evaluation.h"
#include "eval/identity.h"
#include "eval/report.h"
#include "parallel/communication/run_guarded.h"
#include "parallel/communication/same.h"
#include "parallel/health/stop.h"
#include "tensor/threads.h"
#include "trainer/screening.h"
#include "trainer/trainer.h"

namespace eyrie::cli {

namespace {

// Throws if the folder has results of another evaluation: the two could not be told apart.
void refuse_other_results(const std::string& output, const std::string& identity) {
  const eval::ExistingOutput there = eval::inspect_output(output, identity);
  if (there.kind != eval::ExistingOutput::Kind::kOther) return;
  throw base::InputError(
      fmt::format("--output {}: {}. Name another folder, or remove what is there: a folder holds "
                  "the results of one evaluation",
                  output, there.what));
}

// The facts that must be equal on all ranks.
parallel::Facts facts_of(const std::string& place, const checkpoint::OpenedModel& opened,
                         const eval::Evaluation& evaluation) {
  parallel::Facts facts = checkpoint::model_facts(place, opened);
  for (const auto& [task, splits] : evaluation.contents())
    for (const auto& [split, content] : splits)
      facts.emplace_back(fmt::format("the content of {}, split {}", task, split), content);
  facts.emplace_back("what is evaluated", evaluation.identity());
  return facts;
}

}  // namespace

int run_eval(int argc, char** argv) {
  parallel::catch_stop_signals();
  const auto world = parallel::open_world(argc, argv);
  std::string place, output, data = text::default_evaluation_data().string();
  std::vector<std::string> task_folders;
  std::int64_t threads = 0;
  std::optional<std::int64_t> limit;
  bool log_samples = false;
  checkpoint::OpenModelOptions opening;
  eval::EvaluateOptions options;
  CLI::App app("Scores a model on benchmarks (docs/evaluation.md).", argv[0]);
  app.add_option("MODEL", place, "run directory, checkpoint, or Hugging Face directory")
      ->required();
  app.add_option("--tasks", options.tasks, "tasks and groups, separated by commas")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->required();
  add_whole(app, "--num-fewshot", options.shots, "shots in place of each task's own number", 0,
            1 << 20);
  add_whole(app, "--limit", limit,
            "documents a leaf task (MMLU has 57), the first ones; default: all", 1);
  app.add_option("--data", data, "the folder of the evaluation sets; also by $EYRIE_EVAL_DATA")
      ->capture_default_str();
  app.add_option("--include-path", task_folders, "more folders of task files");
  add_scoring_flags(app, opening, options.max_length, threads);
  app.add_option("--output", output, "a folder for results.json, of this evaluation alone");
  app.add_flag("--log-samples", log_samples, "also write samples_TASK.jsonl there");
  if (const auto end = parse(app, argc, argv, world->rank() == 0)) return *end;
  warn_of_unused_allocation("eval");
  return parallel::run_guarded(*world, [&] {
    tensor::set_thread_count(trainer::threads_for(threads, *world));
    options.places = {data, {task_folders.begin(), task_folders.end()}};
    if (limit) options.limits[""] = *limit;
    checkpoint::OpenedModel opened;
    std::optional<eval::Evaluation> evaluation;
    parallel::agree(*world, [&] {
      if (log_samples && output.empty())
        throw base::InputError("--log-samples needs --output, the folder to write to");
      if (world->rank() == 0) {  // before anything is scored
        base::check_output_is_open();
        if (!output.empty()) {
          base::check_output_folder("--output", output);
          if (std::filesystem::is_directory(output))
            base::check_output_file("--output", base::Path(output) / "results.json");
        }
      }
      // Before the model is read, so that a mistyped task does not cost minutes.
      const text::TaskCatalog catalog = text::read_tasks(options.places.task_directories);
      for (const std::string& task : options.tasks) text::open_tasks(task, catalog, options.places);
      opening.fingerprint = !output.empty() || world->size() > 1;
      opened = checkpoint::open_model(place, opening);
      options.model = opened.description;
      options.subject = {opened.fingerprint, opened.step, opened.precision()};
      evaluation.emplace(*opened.tokenizer, options);
      if (!output.empty() && world->rank() == 0)
        refuse_other_results(output, evaluation->identity());
    });
    if (world->size() > 1) parallel::check_same(*world, facts_of(place, opened, *evaluation));
    parallel::agree(*world, [&] {
      if (world->rank() != 0 || opened.run.empty()) return;
      for (const std::string& warning :
           trainer::screening_warnings(opened.run, evaluation->contents()))
        base::log_warning(warning);
    });
    evaluation->keep_in(output);
    const auto results = evaluation->run(*opened.model, {*world, *world});
    if (!results) return base::kExitStopped;
    parallel::agree(*world, [&] {
      if (world->rank() != 0) return;
      // The table is printed first, so that it is not lost if the files cannot be written.
      base::print("{}\n{}", opened.description, eval::results_table(*results));
      if (!output.empty()) eval::write_results(*results, output, log_samples);
      if (!output.empty()) base::log_info("results are in " + output + "/results.json");
    });
    return base::kExitDone;
  });
}

}  // namespace eyrie::cli
