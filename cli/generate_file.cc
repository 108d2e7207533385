// Prompts from a JSONL file; answers in its order, each written as soon as those before it are.
#include <fmt/format.h>

#include <cstdio>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/file_kind.h"
#include "base/json_text.h"
#include "cli/generate.h"
#include "parallel/stop.h"

namespace eyrie::cli {
namespace {

using nlohmann::ordered_json;

struct Line {
  std::string id;  // as it is written; empty: none given
  std::string prompt;
};

// InputError naming file and line.
Line parse(const std::string& text, const std::string& file, std::int64_t number) {
  const auto refuse = [&](const std::string& why) {
    return base::InputError(
        fmt::format("{}:{}: {}; a line is {{\"prompt\": \"text\"}}", file, number, why));
  };
  Line line;
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

int generate_from_file(const GenerateOptions& options, const trainer::OpenedModel& opened,
                       model::Decoder& decoder) {
  if (std::filesystem::is_directory(options.prompts))
    throw base::InputError(
        fmt::format("--prompts {}: a folder, where a file is expected", options.prompts));
  std::ifstream file(options.prompts);
  if (!file) throw base::InputError(fmt::format("--prompts {}: no such file", options.prompts));
  model::TextGenerator generator(decoder, *opened.tokenizer, options.text);
  std::int64_t number = 0;
  std::map<std::uint64_t, Line> lines;  // of prompts that are not answered in whole
  std::map<std::pair<std::uint64_t, std::int64_t>, std::string> finished;
  std::pair<std::uint64_t, std::int64_t> printed{0, 0};
  std::uint64_t count = 0;
  std::string answers;
  const auto counters = generator.run(
      [&]() -> std::optional<model::TextPrompt> {
        std::string text;
        do {
          ++number;
          if (!std::getline(file, text)) return std::nullopt;
        } while (text.find_first_not_of(" \t\r") == std::string::npos);
        if (number == 1) {
          const std::string other = base::not_json_lines(std::string_view(text).substr(0, 600));
          if (!other.empty()) throw base::InputError(fmt::format("{}: {}", options.prompts, other));
          if (text.starts_with(base::kByteOrderMark)) text.erase(0, base::kByteOrderMark.size());
        }
        const Line line = parse(text, options.prompts, number);
        lines.emplace(count++, line);
        return model::TextPrompt{line.prompt, options.samples};
      },
      {},
      [&](const model::TextResult& result) {
        const Line& line = lines.at(result.prompt);
        ordered_json answer;
        answer["prompt"] = line.prompt;
        if (options.samples > 1) answer["sample"] = result.sample;
        answer["text"] = result.text;
        answer["tokens"] = result.tokens;
        answer["finish"] = model::name_of(result.finish);
        finished.emplace(
            std::pair(result.prompt, result.sample),
            (line.id.empty() ? "{" : fmt::format("{{\"id\":{},", line.id)) +
                answer.dump(-1, ' ', false, ordered_json::error_handler_t::replace).substr(1) +
                "\n");
        for (auto next = finished.find(printed); next != finished.end();
             next = finished.find(printed)) {
          if (options.output.empty()) {
            fmt::print("{}", next->second);
            std::fflush(stdout);
          } else {
            answers += next->second;
          }
          finished.erase(next);
          if (++printed.second == options.samples) {
            lines.erase(printed.first);
            printed = {printed.first + 1, 0};
          }
        }
      },
      parallel::stop_requested);
  if (!options.output.empty()) base::write_file(options.output, answers);
  print_counters(opened.description, counters);
  return parallel::stop_requested() ? kExitInterrupted : base::kExitDone;
}

}  // namespace eyrie::cli
