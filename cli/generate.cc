// eyrie generate MODEL: generates text from one prompt (streamed), a file of prompts, or a
// dialogue.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/listing.h"
#include "base/output.h"
#include "base/output_place.h"
#include "checkpoint/open_model.h"
#include "cli/command.h"
#include "cli/flags.h"
#include "cli/generate.h"
#include "parallel/health/stop.h"
#include "tensor/cores.h"
#include "tensor/threads.h"

namespace eyrie::cli {

namespace {

void add_options(CLI::App& app, GenerateOptions& options, checkpoint::OpenModelOptions& opening,
                 std::int64_t& threads) {
  generation::TextOptions& text = options.text;
  app.add_option("MODEL", options.place, "run directory, checkpoint, or Hugging Face directory")
      ->required();
  auto* prompt = app.add_option("--prompt", options.prompt,
                                "the text to continue; empty: from the start of a document");
  auto* prompts = app.add_option("--prompts", options.prompts,
                                 "JSONL: {\"prompt\": text}, \"id\" is passed on; answers in its "
                                 "order, one JSON object a line")
                      ->excludes(prompt);
  app.add_flag("--chat", options.chat, "a dialogue: a line is a turn; /exit or Ctrl-D ends")
      ->excludes(prompt)
      ->excludes(prompts);
  app.add_option("--output", options.output, "with --prompts: a file for the answers")
      ->needs(prompts);
  add_whole(app, "--max-new", text.max_new_tokens, "tokens to make at the most", 0);
  add_whole(app, "--samples", options.samples, "continuations of each prompt, which is read once",
            1, 1 << 20);
  add_number(app, "--temperature", text.sampling.temperature, "0: always the most probable token",
             0, 1000);
  add_whole(app, "--top-k", text.sampling.top_k, "sample among the k most probable; 0: all", 0);
  add_number(app, "--top-p", text.sampling.top_p, "sample among the most probable that make up p",
             0, 1);
  add_number(app, "--min-p", text.sampling.min_p,
             "sample among those at least this share of the most probable", 0, 1);
  add_number(app, "--repetition-penalty", text.sampling.repetition_penalty,
             "above 1: tokens that were there before are less probable", 0, 1000);
  add_seed(app, text.sampling.seed, "the same seed gives the same text");
  app.add_option("--stop", text.stops, "ends the text where this comes up; may be given again");
  app.add_flag("--turn-markers", text.turn_markers,
               "<start_of_turn> and <end_of_turn> in a prompt are the control tokens; else they "
               "are text");
  app.add_flag("--ignore-end", text.ignore_end, "go on after the end of a document");
  add_whole(app, "--batch", text.max_batch, "sequences side by side", 1, 1 << 16);
  app.add_option("--state", options.state, "go on from a saved state (docs/generation.md)")
      ->excludes(prompts);
  app.add_option("--save-state", options.save_state,
                 "a file for the state after the text; with one sample")
      ->excludes(prompts);
  app.add_option("--tokenizer", opening.tokenizer, "a tokenizer file in place of the model's own");
  app.add_flag("--other-tokenizer", opening.other_tokenizer,
               "take a tokenizer that is not the model's own");
  app.add_option("--precision", opening.precision, "fp32 or bf16; default: as stored");
  add_weights(app, opening);
  add_whole(app, "--threads", threads, "0: all cores", 0, base::most_threads());
}

}  // namespace

void print_counters(const std::string& description,
                    const generation::GenerationCounters& counters) {
  const auto rate = [](std::int64_t tokens, double seconds) {
    return seconds > 0 ? static_cast<double>(tokens) / seconds : 0.0;
  };
  base::print_error(fmt::format(
      "{}: prompt {} tokens in {:.2f} s ({:.1f} tokens/s); {} tokens in {:.2f} s ({:.1f} "
      "tokens/s); first token after {:.3f} s\n",
      description, counters.prompt_tokens, counters.prompt_seconds,
      rate(counters.prompt_tokens, counters.prompt_seconds), counters.new_tokens,
      counters.new_seconds, rate(counters.new_tokens, counters.new_seconds),
      counters.first_token_seconds));
}

int run_generate(int argc, char** argv) {
  GenerateOptions options;
  checkpoint::OpenModelOptions opening;
  opening.decoding = true;
  std::int64_t threads = 0;
  CLI::App app("Generates text from a model (docs/generation.md).", argv[0]);
  add_options(app, options, opening, threads);
  if (const auto end = parse(app, argc, argv)) return *end;
  generation::check(options.text.sampling);
  if (options.samples > 1 && (options.chat || !options.save_state.empty())) {
    throw base::InputError(fmt::format("--samples {} does not go with {}", options.samples,
                                       options.chat ? "--chat" : "--save-state"));
  }
  for (const auto& [flag, given] : {std::pair{"--state", !options.state.empty()},
                                    {"--save-state", !options.save_state.empty()},
                                    {"--turn-markers", options.text.turn_markers}}) {
    if (options.chat && given)
      throw base::InputError(fmt::format("{} does not go with --chat", flag));
  }
  // Before the model is read: checks outputs and reads the prompts, so that errors show early.
  if (!options.save_state.empty())
    base::check_output_file("--save-state", options.save_state, base::Order::kAny);
  if (options.output.empty()) {
    base::check_output_is_open();
  } else {
    base::check_output_file("--output", options.output);
  }
  if (!options.prompts.empty()) options.lines = read_prompts(options.prompts);
  tensor::use_threads(threads);
  opening.fingerprint = !options.state.empty() || !options.save_state.empty();
  const checkpoint::OpenedModel opened = checkpoint::open_model(options.place, opening);
  generation::Decoder decoder(*opened.griffin, *opened.parameters, opened.tokenizer->size());
  parallel::catch_stop_signals();
  if (options.chat) return chat(options, opened, decoder);
  if (!options.prompts.empty()) return generate_from_file(options, opened, decoder);
  return generate_one(options, opened, decoder);
}

}  // namespace eyrie::cli
