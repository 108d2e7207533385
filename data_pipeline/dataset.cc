// dataset.json and the table that a build prints at its end.
#include "data_pipeline/dataset.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/listing.h"
#include "base/shown.h"

namespace eyrie::data_pipeline {

using Json = nlohmann::ordered_json;

namespace {
constexpr const char* kFormat = "eyrie-dataset";

Json to_json(const DocumentCounts& c) {
  return {{"read", c.read},
          {"bad_lines", c.bad_lines},
          {"empty", c.empty},
          {"filtered", c.filtered},
          {"excluded", c.excluded},
          {"written", c.written},
          {"validation", c.validation}};
}
}  // namespace

std::string to_json(const std::vector<BadLine>& lines) {
  Json all = Json::array();
  for (const BadLine& bad : lines)
    all.push_back(
        {{"file", bad.file}, {"line", bad.line}, {"column", bad.column}, {"reason", bad.reason}});
  // The reason may quote bytes that are not UTF-8.
  return all.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::vector<BadLine> bad_lines_from_json(std::string_view json) {
  std::vector<BadLine> lines;
  for (const Json& one : Json::parse(json))
    lines.push_back({one.at("line"), one.at("column"), one.at("reason"), one.at("file")});
  return lines;
}

void DocumentCounts::add(const DocumentCounts& o) {
  read += o.read;
  bad_lines += o.bad_lines;
  empty += o.empty;
  filtered += o.filtered;
  excluded += o.excluded;
  written += o.written;
  validation += o.validation;
  tokens += o.tokens;
  validation_tokens += o.validation_tokens;
}

void write_dataset(const base::Path& directory, const Dataset& d) {
  Json sources = Json::array();
  for (const SourceSummary& s : d.sources) {
    Json files = Json::array(), shards = Json::array(), excluded = Json::object();
    for (const auto& [file, hash] : s.files) files.push_back({{"file", file}, {"hash", hash}});
    for (const auto& [task, documents] : s.excluded_by_task) excluded[task] = documents;
    for (const ShardEntry& e : s.shards)
      shards.push_back({{"file", e.file},
                        {"documents", e.documents},
                        {"tokens", e.tokens},
                        {"content", e.content}});
    sources.push_back({{"name", s.name},
                       {"files", files},
                       {"filters", s.filters},
                       {"documents", to_json(s.counts)},
                       {"first_bad_lines", Json::parse(to_json(s.bad_lines))},
                       {"excluded_by_task", excluded},
                       {"tokens", s.counts.tokens},
                       {"validation_tokens", s.counts.validation_tokens},
                       {"shards", shards}});
  }
  const Json all = {
      {"format", kFormat},
      {"version", 1},
      {"build", d.build},
      {"tokenizer",
       {{"file", d.tokenizer_file}, {"hash", d.tokenizer_hash}, {"vocabulary", d.vocabulary}}},
      {"validation", d.validation},
      {"exclusion",
       {{"method", d.exclusion_method},
        {"hash", d.exclusion_hash},
        {"tasks", d.exclusion_tasks},
        {"files", d.exclusion_files},
        {"screened_tasks", d.screened_tasks},
        {"contents", d.contents},
        {"report", Json::parse(d.exclusion_report)}}},
      {"sources", sources}};
  base::write_file(directory / kDatasetFile, all.dump(1) + "\n");
}

Dataset read_dataset(const base::Path& directory) {
  const base::Path path = directory / kDatasetFile;
  if (!base::is_there(path))
    throw base::InputError(
        fmt::format("{}: no {}: {}: run eyrie data build", directory.string(), kDatasetFile,
                    base::is_folder(directory) ? "no shards here, or their build was not finished"
                                               : "there is no such folder"));
  try {
    const Json all = Json::parse(base::read_file(path));
    if (all.at("format") != kFormat || all.at("version") != 1)
      throw base::InputError(
          fmt::format("{}: not version 1 of {}: build the shards again", path.string(), kFormat));
    Dataset d;
    d.build = all.at("build");
    d.tokenizer_file = all.at("tokenizer").at("file");
    d.tokenizer_hash = all.at("tokenizer").at("hash");
    d.vocabulary = all.at("tokenizer").at("vocabulary");
    d.validation = all.at("validation");
    const Json& exclusion = all.at("exclusion");
    d.exclusion_method = exclusion.at("method");
    d.exclusion_hash = exclusion.at("hash");
    d.exclusion_tasks = exclusion.at("tasks").get<std::vector<std::string>>();
    d.exclusion_files = exclusion.at("files").get<std::vector<std::string>>();
    d.screened_tasks = exclusion.at("screened_tasks").get<std::vector<std::string>>();
    if (exclusion.contains("contents"))
      d.contents = exclusion.at("contents").get<text::TaskContents>();
    d.exclusion_report = exclusion.at("report").dump();
    for (const Json& one : all.at("sources")) {
      SourceSummary s;
      s.name = one.at("name");
      for (const Json& file : one.at("files"))
        s.files.emplace_back(file.at("file"), file.at("hash"));
      s.filters = one.at("filters").get<std::vector<std::string>>();
      const Json& c = one.at("documents");
      s.counts = {c.at("read"),       c.at("bad_lines"), c.at("empty"),
                  c.at("filtered"),   c.at("excluded"),  c.at("written"),
                  c.at("validation"), one.at("tokens"),  one.at("validation_tokens")};
      if (one.contains("first_bad_lines"))
        s.bad_lines = bad_lines_from_json(one.at("first_bad_lines").dump());
      for (const auto& [task, documents] : one.at("excluded_by_task").items())
        s.excluded_by_task.emplace_back(task, documents);
      for (const Json& e : one.at("shards"))
        s.shards.push_back({e.at("file"), e.at("documents"), e.at("tokens"), e.at("content")});
      d.sources.push_back(std::move(s));
    }
    return d;
  } catch (const Json::exception& e) {
    throw base::InputError(
        fmt::format("{}: damaged ({}): build the shards again", path.string(), e.what()));
  }
}

std::string dataset_table(const Dataset& dataset) {
  std::vector<std::vector<std::string>> rows = {
      {"source", "documents", "bad lines", "empty", "utf8"}};
  std::vector<std::string> tasks;
  for (const SourceSummary& s : dataset.sources)
    for (const auto& [task, documents] : s.excluded_by_task)
      if (std::find(tasks.begin(), tasks.end(), task) == tasks.end()) tasks.push_back(task);
  for (const std::string& task : tasks) rows[0].push_back(base::shown(task));
  for (const char* column : {"written", "tokens", "held out", "its tokens", "shards"})
    rows[0].emplace_back(column);

  SourceSummary total;
  total.name = "all";
  const auto excluded = [](const SourceSummary& s, const std::string& task) {
    for (const auto& [name, documents] : s.excluded_by_task)
      if (name == task) return documents;
    return std::int64_t{0};
  };
  const auto add_row = [&](const SourceSummary& s) {
    const DocumentCounts& c = s.counts;
    std::vector<std::string> row = {base::shown(s.name)};
    for (const std::int64_t n : {c.read, c.bad_lines, c.empty, c.filtered})
      row.push_back(fmt::format("{}", n));
    for (const std::string& task : tasks) row.push_back(fmt::format("{}", excluded(s, task)));
    for (const std::int64_t n : {c.written, c.tokens, c.validation, c.validation_tokens})
      row.push_back(fmt::format("{}", n));
    row.push_back(fmt::format("{}", s.shards.size()));
    rows.push_back(row);
  };
  for (const SourceSummary& s : dataset.sources) {
    add_row(s);
    total.counts.add(s.counts);
    total.shards.insert(total.shards.end(), s.shards.begin(), s.shards.end());
  }
  for (const std::string& task : tasks) {
    std::int64_t sum = 0;
    for (const SourceSummary& s : dataset.sources) sum += excluded(s, task);
    total.excluded_by_task.emplace_back(task, sum);
  }
  add_row(total);

  std::string table;
  for (const std::vector<std::string>& row : rows) {
    for (std::size_t column = 0; column < row.size(); ++column) {
      std::size_t width = 0;
      for (const auto& other : rows) width = std::max(width, other[column].size());
      table += column == 0 ? fmt::format("{:<{}}", row[column], width)
                           : fmt::format("  {:>{}}", row[column], width);
    }
    table += '\n';
  }
  return table;
}

}  // namespace eyrie::data_pipeline
