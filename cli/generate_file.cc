// Answers prompts from a JSONL file in their order. Each answer is written as soon as all earlier
// ones are.
#include <fmt/format.h>

#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/error.h"
#include "base/file.h"
#include "base/file_kind.h"
#include "base/json_text.h"
#include "base/output.h"
#include "base/shown.h"
#include "cli/generate.h"
#include "parallel/health/stop.h"

namespace eyrie::cli {
namespace {

using nlohmann::ordered_json;

// Throws InputError naming file and line.
PromptLine parse(const std::string& text, const std::string& file, std::int64_t number) {
  const auto refuse = [&](const std::string& why) {
    return base::InputError(
        fmt::format("{}:{}: {}; a line is {{\"prompt\": \"text\"}}", file, number, why));
  };
  PromptLine line;
  try {
    const auto json = base::JsonText::parse(text);
    if (json.kind() != base::JsonText::Kind::kObject)
      throw refuse(fmt::format("{}, not an object", json.kind_name()));
    const auto prompt = json.find("prompt"), id = json.find("id");
    if (!prompt) throw refuse("there is no \"prompt\"");
    if (prompt->kind() != base::JsonText::Kind::kString) throw refuse("\"prompt\" is not a text");
    line.prompt = prompt->text();
    if (id) line.id = id->raw();
  } catch (const base::JsonError& error) {
    throw refuse(fmt::format("byte {}: {}", error.at() + 1, error.what()));
  }
  return line;
}

}  // namespace

std::vector<PromptLine> read_prompts(const std::string& file) {
  const std::string whole = base::read_file(file);
  const std::string other = base::not_json_lines(std::string_view(whole).substr(0, 600));
  if (!other.empty()) throw base::InputError(fmt::format("--prompts {}: {}", file, other));
  std::istringstream contents(
      whole.substr(whole.starts_with(base::kByteOrderMark) ? base::kByteOrderMark.size() : 0));
  std::vector<PromptLine> lines;
  std::string text;
  for (std::int64_t number = 1; std::getline(contents, text); ++number) {
    if (text.find_first_not_of(" \t\r") == std::string::npos) continue;
    lines.push_back(parse(text, file, number));
  }
  if (lines.empty()) throw base::InputError(fmt::format("--prompts {}: no prompts in it", file));
  return lines;
}

int generate_from_file(const GenerateOptions& options, const checkpoint::OpenedModel& opened,
                       generation::Decoder& decoder) {
  generation::TextGenerator generator(decoder, *opened.tokenizer, options.text);
  std::map<std::pair<std::uint64_t, std::int64_t>, std::string> finished;
  std::pair<std::uint64_t, std::int64_t> printed{0, 0};
  std::size_t next_line = 0;
  std::string answers;
  const auto counters = generator.run(
      [&]() -> std::optional<generation::TextPrompt> {
        if (next_line == options.lines.size()) return std::nullopt;
        return generation::TextPrompt{options.lines[next_line++].prompt, options.samples};
      },
      {},
      [&](const generation::TextResult& result) {
        const PromptLine& line = options.lines.at(result.prompt);
        ordered_json answer;
        answer["prompt"] = line.prompt;
        if (options.samples > 1) answer["sample"] = result.sample;
        answer["text"] = result.text;
        answer["tokens"] = result.tokens;
        answer["finish"] = generation::name_of(result.finish);
        finished.emplace(
            std::pair(result.prompt, result.sample),
            base::shown_json(
                (line.id.empty() ? "{" : fmt::format("{{\"id\":{},", line.id)) +
                answer.dump(-1, ' ', false, ordered_json::error_handler_t::replace).substr(1)) +
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
