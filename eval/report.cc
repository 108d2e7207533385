// Results as JSON and tables.
#include "eval/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/output_place.h"
#include "eval/answer_cache.h"
#include "eval/identity.h"
#include "eval/prompt.h"
#include "eval/shots.h"
#include "eval/statistics.h"
#include "text/python_string.h"

namespace eyrie::eval {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kFilter = "none";  // answers are scored without a filter

bool higher_is_better(const std::string& metric) { return metric != "perplexity"; }

struct View {
  std::string alias;
  double version;
  const std::vector<MetricResult>* metrics;
  const TaskResult* task;  // null for a group
};

View view_of(const Results& results, const ResultLine& line) {
  const auto task = results.tasks.find(line.name);
  const std::string indent = line.depth > 0
                                 ? std::string(static_cast<std::size_t>(line.depth), ' ') + "- "
                                 : std::string();
  if (task != results.tasks.end()) {
    const text::TaskDefinition& definition = task->second.task->definition();
    return {indent + (line.depth > 0 ? definition.alias : definition.name), definition.version,
            &task->second.metrics, &task->second};
  }
  const GroupResult& group = results.groups.at(line.name);
  return {indent + (line.depth > 0 ? group.group.alias : group.group.name), group.group.version,
          &group.metrics, nullptr};
}

Json metrics_json(const View& view) {
  Json json;
  json["alias"] = view.alias;
  for (const MetricResult& metric : *view.metrics) {
    json[metric.name + "," + kFilter] = metric.value;
    Json& error = json[metric.name + "_stderr," + kFilter];
    if (metric.error) {
      error = *metric.error;
    } else {
      error = "N/A";
    }
  }
  return json;
}

Json config_json(const TaskResult& result) {
  const text::TaskDefinition& task = result.task->definition();
  Json json;
  json["task"] = task.name;
  json["output_type"] =
      task.type == text::TaskType::kMultipleChoice ? "multiple_choice" : "loglikelihood";
  json["split"] = task.evaluated_split();
  json["description"] = task.description;
  json["num_fewshot"] = result.shots;
  json["fewshot_split"] = task.shot_split();
  json["fewshot_config"] = {
      {"sampler", task.sampler == text::ShotSampler::kFirst ? "first_n" : "default"}};
  json["target_delimiter"] = task.target_delimiter;
  json["fewshot_delimiter"] = task.fewshot_delimiter;
  json["metric_list"] = Json::array();
  for (const std::string& metric : task.metrics) {
    json["metric_list"].push_back({{"metric", metric},
                                   {"aggregation", metric == "perplexity" ? "perplexity" : "mean"},
                                   {"higher_is_better", higher_is_better(metric)}});
  }
  return json;
}

std::string dump(const Json& json, int indent) {
  return json.dump(indent, ' ', false, nlohmann::json::error_handler_t::replace);
}

// Returns a Markdown table of the lines that `wanted` selects.
template <class Wanted>
std::string table(const Results& results, const std::string& title, Wanted&& wanted) {
  constexpr std::size_t kColumns = 9;
  using Row = std::array<std::string, kColumns>;
  constexpr std::array<bool, kColumns> kNumber = {false, true, false, true, false,
                                                  false, true, false, true};
  std::vector<Row> rows;
  const Row head = {title, "Version", "Filter", "n-shot", "Metric", "", "Value", "", "Stderr"};
  for (const ResultLine& line : results.lines) {
    const View view = view_of(results, line);
    if (!wanted(view)) continue;
    bool first = true;
    for (const MetricResult& metric : *view.metrics) {
      rows.push_back({first ? view.alias : "", first ? fmt::format("{:g}", view.version) : "",
                      kFilter, view.task != nullptr ? fmt::format("{}", view.task->shots) : "",
                      metric.name, higher_is_better(metric.name) ? "↑" : "↓",
                      fmt::format("{:.4f}", metric.value), "±",
                      metric.error ? fmt::format("{:.4f}", *metric.error) : "N/A"});
      first = false;
    }
  }
  if (rows.empty()) return "";
  const auto width = [](const std::string& cell) {
    return static_cast<std::size_t>(text::length(cell));
  };
  std::array<std::size_t, kColumns> widths;
  for (std::size_t c = 0; c < kColumns; ++c) {
    widths[c] = std::max<std::size_t>(3, width(head[c]));
    for (const Row& row : rows) widths[c] = std::max(widths[c], width(row[c]));
  }
  enum class Align { kLeft, kRight, kMiddle };
  const auto padded = [&](const std::string& cell, std::size_t c, Align align) {
    const std::size_t space = widths[c] - width(cell);
    const std::size_t left = align == Align::kLeft ? 0 : align == Align::kRight ? space : space / 2;
    return std::string(left, ' ') + cell + std::string(space - left, ' ') + "|";
  };
  std::string text = "|";
  for (std::size_t c = 0; c < kColumns; ++c) text += padded(head[c], c, Align::kMiddle);
  text += "\n|";
  for (std::size_t c = 0; c < kColumns; ++c) {
    text += std::string(widths[c] - (kNumber[c] ? 1 : 0), '-') + (kNumber[c] ? ":|" : "|");
  }
  text += "\n";
  for (const Row& row : rows) {
    text += "|";
    for (std::size_t c = 0; c < kColumns; ++c)
      text += padded(row[c], c, kNumber[c] ? Align::kRight : Align::kLeft);
    text += "\n";
  }
  return text;
}

}  // namespace

std::string results_json(const Results& results) {
  Json json;
  for (const char* key : {"results", "groups", "group_subtasks", "configs", "versions", "n-shot",
                          "higher_is_better", "n-samples"}) {
    json[key] = Json::object();
  }
  for (const ResultLine& line : results.lines) {
    const View view = view_of(results, line);
    json["results"][line.name] = metrics_json(view);
    json["versions"][line.name] = view.version;
    Json& better = json["higher_is_better"][line.name] = Json::object();
    for (const MetricResult& metric : *view.metrics)
      better[metric.name] = higher_is_better(metric.name);
    if (view.task != nullptr) {
      json["n-shot"][line.name] = view.task->shots;
      const auto& definition = view.task->task->definition();
      json["n-samples"][line.name] = {
          {"original", view.task->task->items(definition.evaluated_split()).size()},
          {"effective", view.task->documents.size()}};
      json["configs"][line.name] = config_json(*view.task);
    } else {
      json["groups"][line.name] = metrics_json(view);
      json["group_subtasks"][line.name] = results.groups.at(line.name).group.members;
    }
  }
  // What the results belong to. inspect_output() compares it with the identity of an evaluation.
  if (!results.identity.empty()) json["evaluated"] = Json::parse(results.identity);
  Json& config = json["config"];
  config["model"] = "eyrie";
  config["model_args"] = results.model;
  config["tokenizer"] = results.tokenizer_hash;
  config["limit"] = Json::parse(limits_json(results.limits));
  config["max_length"] = nullptr;
  if (results.max_length > 0) config["max_length"] = results.max_length;
  config["bootstrap_iters"] = kResamples;
  config["fewshot_seed"] = kShotSeed;
  return dump(json, 2) + "\n";
}

std::string results_table(const Results& results) {
  std::string text = table(results, "Tasks", [](const View&) { return true; });
  const std::string groups =
      table(results, "Groups", [](const View& view) { return view.task == nullptr; });
  return groups.empty() ? text : text + "\n" + groups;
}

std::string samples_jsonl(const TaskResult& result) {
  const text::TaskDefinition& task = result.task->definition();
  const auto& items = result.task->items(task.evaluated_split());
  std::string lines;
  for (std::size_t i = 0; i < result.documents.size(); ++i) {
    const text::TaskItem& item = items[i];
    Json json;
    json["doc_id"] = i;
    json["target"] = item.gold;
    json["requests"] = Json::array();
    for (std::size_t choice = 0; choice < result.documents[i].size(); ++choice) {
      const RequestResult& answer = result.documents[i][choice];
      json["requests"].push_back({{"context_sha256", answer.context_sha256},
                                  {"context_tokens", answer.context_tokens},
                                  {"continuation", continuation(task, item, choice)},
                                  {"continuation_tokens", answer.continuation_tokens},
                                  {"loglikelihood", answer.log_likelihood},
                                  {"is_greedy", answer.is_greedy}});
    }
    for (const std::string& metric : task.metrics) {
      json[metric] = document_metric(metric, task, item, result.documents[i]);
    }
    lines += dump(json, -1) + "\n";
  }
  return lines;
}

void write_results(const Results& results, const base::Path& directory, bool samples) {
  base::make_directories(directory);
  // A results.json must at no time be beside samples of another evaluation.
  if (inspect_output(directory, results.identity).kind != ExistingOutput::Kind::kSame) {
    const base::OutputPlace place = base::find_output_place(directory / "results.json");
    if (place.kind == base::OutputPlace::Kind::kFile) base::remove_tree(place.path);
    for (const base::Path& file : samples_in(directory)) base::remove_tree(file);
  }
  if (samples) {
    for (const auto& [name, task] : results.tasks)
      base::write_file(directory / samples_name(name), samples_jsonl(task));
  }
  base::write_file(directory / "results.json", results_json(results));
  base::remove_tree(AnswerCache::folder(directory));
}

}  // namespace eyrie::eval
