// Answers one prompt. A single sample is streamed; several are printed one after another.
#include <fmt/format.h>

#include <map>

#include "base/error.h"
#include "base/output.h"
#include "cli/generate.h"
#include "parallel/health/stop.h"

namespace eyrie::cli {

int generate_one(const GenerateOptions& options, const checkpoint::OpenedModel& opened,
                 generation::Decoder& decoder) {
  const bool stream = options.samples == 1;
  generation::TextOptions text = options.text;
  text.keep_text = !stream;
  generation::TextGenerator generator(decoder, *opened.tokenizer, text);
  model::State from = decoder.empty_state(1);
  generation::TextPrompt prompt{options.prompt, options.samples};
  const model::StateOwner owner{opened.fingerprint, opened.tokenizer->hash()};
  if (!options.state.empty()) {
    std::vector<std::int32_t> unread;
    from = model::State::load(options.state, opened.griffin->config(),
                              opened.parameters->compute_dtype(), &unread, owner);
    for (const std::int32_t token : unread) {
      if (token < opened.tokenizer->size()) continue;
      throw base::InputError(
          fmt::format("--state {}: its unread token {} is not one of the {} of the tokenizer",
                      options.state, token, opened.tokenizer->size()));
    }
    if (from.sequences() != 1) {
      throw base::InputError(fmt::format("--state {}: it holds {} sequences; one is continued",
                                         options.state, from.sequences()));
    }
    prompt.tokens = generator.encode(options.prompt, unread);
    if (prompt.tokens.empty()) {
      throw base::InputError(
          fmt::format("--state {}: nothing is left to read in it; give a --prompt", options.state));
    }
    prompt.from = &from;
  }
  const auto print = [](const std::string& text) {
    base::print_text(text);
    base::flush_output();
  };
  if (stream) print(options.prompt);
  bool asked = false;
  std::map<std::int64_t, std::string> finished;  // printed in the order of the samples
  std::int64_t printed = 0;
  const auto counters = generator.run(
      [&]() -> std::optional<generation::TextPrompt> {
        if (asked) return std::nullopt;
        asked = true;
        return prompt;
      },
      [&](std::uint64_t, std::int64_t, const std::string& piece) {
        if (stream) print(piece);
      },
      [&](const generation::TextResult& result) {
        if (!options.save_state.empty()) {
          std::vector<std::int32_t> unread;
          if (result.last_token >= 0) unread.push_back(result.last_token);
          result.state->fork(result.state_sequence, 1).save(options.save_state, unread, owner);
        }
        if (stream) return;
        finished.emplace(result.sample, result.text);
        for (auto next = finished.find(printed); next != finished.end();
             next = finished.find(++printed)) {
          print(fmt::format("--- {} of {}\n{}{}\n", printed + 1, options.samples, options.prompt,
                            next->second));
        }
      },
      parallel::stop_requested);
  if (stream) print("\n");
  print_counters(opened.description, counters);
  return parallel::stop_requested() ? kExitInterrupted : base::kExitDone;
}

}  // namespace eyrie::cli
