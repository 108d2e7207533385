// dataset.json: what a folder of shards holds (docs/formats/shard.md). It is written last, so its
// presence says that the build finished.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/file.h"
#include "text/task_content.h"

namespace eyrie::data_pipeline {

struct ShardEntry {
  std::string file;
  std::int64_t documents = 0, tokens = 0;
  std::string content;
};

// How many documents were read, dropped for which reason, and written.
struct DocumentCounts {
  std::int64_t read = 0, bad_lines = 0, empty = 0, filtered = 0, excluded = 0, written = 0,
               validation = 0;
  std::int64_t tokens = 0, validation_tokens = 0;
  void add(const DocumentCounts& other);
};

// A line that is not a document, in a source that skips such lines.
struct BadLine {
  std::int64_t line = 0, column = 0;  // both from 1; column 0: the line as a whole
  std::string reason;
  std::string file = "";
};
// At most this many bad lines per source are named; further ones are only counted.
constexpr std::size_t kNamedBadLines = 5;

struct SourceSummary {
  std::string name;
  std::vector<std::pair<std::string, std::string>> files;  // name and hash of the bytes
  std::vector<std::string> filters;
  DocumentCounts counts;
  // A document may count for several tasks.
  std::vector<std::pair<std::string, std::int64_t>> excluded_by_task;
  std::vector<BadLine> bad_lines;  // the first kNamedBadLines
  std::vector<ShardEntry> shards;
};

struct Dataset {
  std::string build;
  std::string tokenizer_file, tokenizer_hash;
  std::int64_t vocabulary = 0;
  double validation = 0;
  std::string exclusion_method, exclusion_hash;
  std::vector<std::string> exclusion_tasks, exclusion_files, screened_tasks;
  // Hashes of the screened evaluation items; empty in a summary written by an earlier version.
  text::TaskContents contents;
  std::string exclusion_report = "{}";  // JSON
  std::vector<SourceSummary> sources;
};

constexpr const char* kDatasetFile = "dataset.json";

// Bad lines to and from a JSON list.
std::string to_json(const std::vector<BadLine>& lines);
std::vector<BadLine> bad_lines_from_json(std::string_view json);

// Throws InputError if dataset.json is missing (an unfinished build, or not a folder of shards) or
// not readable.
Dataset read_dataset(const base::Path& directory);
void write_dataset(const base::Path& directory, const Dataset& dataset);

// A table with one line per source and one for all of them: documents read, removed by each filter
// and task, written, tokens, held out.
std::string dataset_table(const Dataset& dataset);

}  // namespace eyrie::data_pipeline
