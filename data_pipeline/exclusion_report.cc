// What the exclusion found, as JSON and as a table.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "data_pipeline/exclusion.h"

namespace eyrie::data_pipeline {

using Json = nlohmann::ordered_json;

std::string report_json(const ExclusionIndex& index, const Findings& findings, int top) {
  Json report = Json::object();
  for (std::size_t g = 0; g < index.groups().size(); ++g) {
    const ExclusionIndex::Group& group = index.groups()[g];
    const TaskFindings& task = g < findings.size() ? findings[g] : TaskFindings{};
    std::vector<std::pair<std::string, std::int64_t>> grams(task.grams.begin(), task.grams.end());
    std::stable_sort(grams.begin(), grams.end(),
                     [](const auto& a, const auto& b) { return a.second > b.second; });
    if (static_cast<int>(grams.size()) > top) grams.resize(top);
    Json frequent = Json::array();
    for (const auto& [gram, documents] : grams)
      frequent.push_back({{"ngram", gram}, {"documents", documents}});
    report[group.name] = {
        {"items", group.items},
        {"too_short", group.too_short.size()},
        {"hits", task.hits},
        {"documents", task.documents},
        {"bytes", task.bytes},
        {"longest",
         {{"words", task.longest}, {"item", task.longest_item}, {"text", task.longest_text}}},
        {"top_ngrams", frequent},
        {"items_found", task.items},
        {"items_too_short", group.too_short},
    };
  }
  return report.dump(1);
}

std::string report_table(std::string_view report) {
  const Json tasks = Json::parse(report);
  std::size_t width = 4;
  for (const auto& [name, task] : tasks.items()) width = std::max(width, name.size());
  std::string table =
      fmt::format("{:<{}}  {:>8}  {:>9}  {:>8}  {:>9}  {:>12}  {:>7}\n", "task", width, "items",
                  "too short", "found", "documents", "bytes", "longest");
  for (const auto& [name, task] : tasks.items())
    table += fmt::format(
        "{:<{}}  {:>8}  {:>9}  {:>8}  {:>9}  {:>12}  {:>7}\n", name, width,
        task.at("items").get<std::int64_t>(), task.at("too_short").get<std::int64_t>(),
        task.at("items_found").size(), task.at("documents").get<std::int64_t>(),
        task.at("bytes").get<std::int64_t>(), task.at("longest").at("words").get<std::int64_t>());
  return table;
}

std::string to_json(const Findings& findings) {
  Json all = Json::array();
  for (const TaskFindings& task : findings)
    all.push_back({{"hits", task.hits},
                   {"documents", task.documents},
                   {"bytes", task.bytes},
                   {"longest", task.longest},
                   {"longest_item", task.longest_item},
                   {"longest_text", task.longest_text},
                   {"grams", task.grams},
                   {"items", task.items}});
  return all.dump();
}

Findings findings_from_json(std::string_view json) {
  Findings findings;
  for (const Json& one : Json::parse(json)) {
    TaskFindings task;
    one.at("hits").get_to(task.hits);
    one.at("documents").get_to(task.documents);
    one.at("bytes").get_to(task.bytes);
    one.at("longest").get_to(task.longest);
    one.at("longest_item").get_to(task.longest_item);
    one.at("longest_text").get_to(task.longest_text);
    one.at("grams").get_to(task.grams);
    one.at("items").get_to(task.items);
    findings.push_back(std::move(task));
  }
  return findings;
}

}  // namespace eyrie::data_pipeline
