// Prompts from a JSONL file; answers in its order, each written as soon as those before it are.
#include <fmt/format.h>

#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/error.h"
#include "base/file.h"
#include "base/output.h"
#include "base/shown.h"
#include "cli/generate.h"
#include "parallel/stop.h"

namespace eyrie::cli {
namespace {

using nlohmann::ordered_json;

// InputError naming file and line.
PromptLine parse(const std::string& text, const std::string& file, std::int64_t number) {
  const auto refuse = [&](const std::string& why) {
    return base::InputError(
        fmt::format("{}:{}: {}; a line is {{\"prompt\": \"text\"}}", file, number, why));
  };
  PromptLine line;
  try {
    const auto json = ordered_json::parse(text);
    if (!json.is_object() || !json.contains("prompt")) throw refuse("there is no \"prompt\"");
    if (!json.at("prompt").is_string()) throw refuse("\"prompt\" is not a text");
    line.prompt = json.at("prompt").get<std::string>();
    if (json.contains("id") && !json.at("id").is_null()) line.id = json.at("id").dump();
  } catch (const ordered_json::exception& error) {
    throw refuse(fmt::format("not JSON ({})", error.what()));
  }
  return line;
}

}  // namespace

std::vector<PromptLine> read_prompts(const std::string& file) {
  std::istringstream contents(base::read_file(file));
  std::vector<PromptLine> lines;
  std::string text;
  for (std::int64_t number = 1; std::getline(contents, text); ++number) {
    if (text.find_first_not_of(" \t\r") == std::string::npos) continue;
    lines.push_back(parse(text, file, number));
  }
  if (lines.empty()) throw base::InputError(fmt::format("--prompts {}: no prompts in it", file));
  return lines;
}

int generate_from_file(const GenerateOptions& options, const trainer::OpenedModel& opened,
                       model::Decoder& decoder) {
  model::TextGenerator generator(decoder, *opened.tokenizer, options.text);
  std::map<std::pair<std::uint64_t, std::int64_t>, std::string> finished;
  std::pair<std::uint64_t, std::int64_t> printed{0, 0};
  std::size_t next_line = 0;
  std::string answers;
  const auto counters = generator.run(
      [&]() -> std::optional<model::TextPrompt> {
        if (next_line == options.lines.size()) return std::nullopt;
        return model::TextPrompt{options.lines[next_line++].prompt, options.samples};
      },
      {},
      [&](const model::TextResult& result) {
        const PromptLine& line = options.lines.at(result.prompt);
        ordered_json answer;
        if (!line.id.empty()) answer["id"] = ordered_json::parse(line.id);
        answer["prompt"] = line.prompt;
        if (options.samples > 1) answer["sample"] = result.sample;
        answer["text"] = result.text;
        answer["tokens"] = result.tokens;
        answer["finish"] = model::name_of(result.finish);
        finished.emplace(
            std::pair(result.prompt, result.sample),
            base::shown_json(answer.dump(-1, ' ', false, ordered_json::error_handler_t::replace)) +
                "\n");
        for (auto next = finished.find(printed); next != finished.end();
             next = finished.find(printed)) {
          if (options.output.empty()) {
            base::print_json(next->second);
            base::flush_output();
          } else {
            answers += next->second;
          }
          finished.erase(next);
          if (++printed.second == options.samples) printed = {printed.first + 1, 0};
        }
      },
      parallel::stop_requested);
  if (!options.output.empty()) base::write_file(options.output, answers);
  print_counters(opened.description, counters);
  return parallel::stop_requested() ? kExitInterrupted : base::kExitDone;
}

}  // namespace eyrie::cli
