// Reads results files and prints them side by side.
#include "eval/compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json_text.h"
#include "base/listing.h"

namespace eyrie::eval {
namespace {

using Json = nlohmann::ordered_json;

void find_files(const base::Path& folder, int depth, std::vector<base::Path>& found) {
  if (base::is_regular_file(folder / "results.json")) found.push_back(folder / "results.json");
  if (depth == 0) return;
  for (const base::Path& entry : base::list_folder(folder))
    if (base::is_folder(entry)) find_files(entry, depth - 1, found);
}

void read_file_into(const base::Path& file, Scores& scores) {
  const auto wrong = [&](const std::string& why) {
    return base::InputError(fmt::format("{} is no results file: {}", file.string(), why));
  };
  const Json json = Json::parse(base::read_json_object(file.string()), nullptr, false);
  if (!json.is_object() || !json.contains("results") || !json["results"].is_object())
    throw wrong("it has no 'results'");
  for (const char* section : {"results", "groups"}) {
    if (!json.contains(section) || !json[section].is_object()) continue;
    for (const auto& [task, metrics] : json[section].items()) {
      if (!metrics.is_object()) throw wrong(fmt::format("'{}' is no object", task));
      for (const auto& [key, value] : metrics.items()) {
        const std::size_t comma = key.find(',');  // "acc,none"; not "alias"
        const std::string metric = key.substr(0, comma);
        if (comma == std::string::npos || metric.ends_with("_stderr") || !value.is_number())
          continue;
        const std::pair name{task, metric};
        const std::string error = metric + "_stderr" + key.substr(comma);
        const auto [at, is_new] = scores.by_task.try_emplace(name);
        const double number = value.get<double>();
        if (!is_new && at->second.value != number)
          throw base::InputError(
              fmt::format("{}: another file there has other results for {}", file.string(), task));
        if (is_new) scores.order.push_back(name);
        at->second.value = number;
        if (metrics.contains(error) && metrics[error].is_number())
          at->second.error = metrics[error].get<double>();
      }
    }
  }
}

bool differs(const Scores::Score& a, const Scores::Score& b) {
  if (!a.error || !b.error) return false;
  return std::abs(a.value - b.value) > 1.96 * std::hypot(*a.error, *b.error);
}

}  // namespace

Scores read_scores(const base::Path& path) {
  std::vector<base::Path> files;
  if (base::is_regular_file(path)) files.push_back(path);
  if (base::is_folder(path)) find_files(path, 2, files);
  if (files.empty())
    throw base::InputError(fmt::format("{}: there is no results.json", path.string()));
  Scores scores;
  const base::Path clean = path.lexically_normal();
  scores.name = (clean.filename().empty() ? clean.parent_path() : clean).filename().string();
  if (scores.name == "results.json") scores.name = clean.parent_path().filename().string();
  for (const base::Path& file : files) read_file_into(file, scores);
  return scores;
}

std::string compare_table(const std::vector<Scores>& models) {
  std::vector<std::pair<std::string, std::string>> lines;
  for (const Scores& model : models)
    for (const auto& name : model.order)
      if (std::find(lines.begin(), lines.end(), name) == lines.end()) lines.push_back(name);
  std::vector<std::vector<std::string>> cells = {{"task", "metric"}};
  for (const Scores& model : models) cells[0].push_back(model.name);
  for (const auto& name : lines) {
    auto& row = cells.emplace_back(std::vector<std::string>{name.first, name.second});
    const auto first = models.front().by_task.find(name);
    for (const Scores& model : models) {
      const auto at = model.by_task.find(name);
      if (at == model.by_task.end()) {
        row.emplace_back("-");
        continue;
      }
      const bool star = first != models.front().by_task.end() && differs(at->second, first->second);
      row.push_back(fmt::format("{:.4f}{}{}", at->second.value,
                                at->second.error ? fmt::format(" ± {:.4f}", *at->second.error) : "",
                                star ? " *" : ""));
    }
  }
  // Of characters, not bytes: ± has two.
  const auto width_of = [](const std::string& text) {
    return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
      return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
    }));
  };
  std::vector<std::size_t> widths(cells[0].size());
  for (const auto& row : cells)
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width_of(row[i]));
  std::string text;
  for (std::size_t r = 0; r < cells.size(); ++r) {
    for (std::size_t i = 0; i < widths.size(); ++i)
      text += "| " + cells[r][i] + std::string(widths[i] - width_of(cells[r][i]) + 1, ' ');
    text += "|\n";
    if (r > 0) continue;
    for (const std::size_t width : widths) text += "|" + std::string(width + 2, '-');
    text += "|\n";
  }
  return text;
}

}  // namespace eyrie::eval
