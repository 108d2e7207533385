// eyrie score MODEL --requests FILE.jsonl: computes log-likelihoods of (context, continuation)
// pairs or of tokens.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "base/error.h"
#include "base/hash.h"
#include "base/output.h"
#include "base/output_place.h"
#include "base/shown.h"
#include "checkpoint/open_model.h"
#include "cli/command.h"
#include "cli/flags.h"
#include "cli/launched.h"
#include "eval/score_requests.h"
#include "parallel/communication/run_guarded.h"
#include "parallel/communication/same.h"
#include "tensor/threads.h"
#include "trainer/trainer.h"

namespace eyrie::cli {

int run_score(int argc, char** argv) {
  const auto world = parallel::open_world(argc, argv);
  std::string place, file, output;
  std::int64_t threads = 0, max_length = 0;
  checkpoint::OpenModelOptions opening;
  CLI::App app("Log-likelihoods of continuations (docs/evaluation.md).", argv[0]);
  app.add_option("MODEL", place, "run directory, checkpoint, or Hugging Face directory")
      ->required();
  app.add_option("--requests", file,
                 "JSONL: {\"context\", \"continuation\"} or {\"tokens\": [ids], \"from\": n}; "
                 "\"id\" is passed on")
      ->required();
  app.add_option("--output", output,
                 "a file for the answers, one JSON object a line; default: printed");
  add_scoring_flags(app, opening, max_length, threads);
  if (const auto end = parse(app, argc, argv, world->rank() == 0)) return *end;
  warn_of_unused_allocation("score");
  return parallel::run_guarded(*world, [&] {
    tensor::set_thread_count(trainer::threads_for(threads, *world));
    std::string requests;
    checkpoint::OpenedModel opened;
    parallel::agree(*world, [&] {
      requests = base::read_file(file);
      if (world->rank() == 0) {  // before the model is read
        if (output.empty()) {
          base::check_output_is_open();
        } else {
          base::check_output_file("--output", output);
        }
        eval::check_requests(requests, file);
      }
      opening.fingerprint = world->size() > 1;
      opening.any_tokenizer = !eval::needs_tokenizer(requests);
      opened = checkpoint::open_model(place, opening);
    });
    parallel::Facts facts = checkpoint::model_facts(place, opened);
    facts.emplace_back("the requests in " + file, base::hex(base::hash_text(requests)));
    facts.emplace_back("--max-length", std::to_string(max_length));
    parallel::check_same(*world, facts);
    const std::string answers = base::shown_json(
        eval::score_requests(*opened.model, *opened.tokenizer, *world, requests, file, max_length));
    parallel::agree(*world, [&] {
      if (world->rank() != 0) return;
      if (output.empty()) {
        base::print_json(answers);
      } else {
        base::write_file(output, answers);
      }
    });
    return base::kExitDone;
  });
}

}  // namespace eyrie::cli
