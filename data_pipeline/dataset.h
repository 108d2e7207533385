// dataset.json: what a folder of shards holds (docs/formats/shard.md). Written last, so that its
// being there says that the build was finished.
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

// What became of documents.
struct DocumentCounts {
  std::int64_t read = 0, bad_lines = 0, empty = 0, filtered = 0, excluded = 0, written = 0,
               validation = 0;
  std::int64_t tokens = 0, validation_tokens = 0;
  void add(const DocumentCounts& other);
};

// A line that is no document, in a source that passes over these.
struct BadLine {
  std::int64_t line = 0, column = 0;  // from 1; column 0: the line as a whole
  std::string reason;
  std::string file = "";
};
constexpr std::size_t kNamedBadLines = 5;  // that are named of a source; the others are counted

struct SourceSummary {
  std::string name;
  std::vector<std::pair<std::string, std::string>> files;  // name, hash of its bytes
  std::vector<std::string> filters;
  DocumentCounts counts;
  std::vector<std::pair<std::string, std::int64_t>>
      excluded_by_task;            // a document may count for several
  std::vector<BadLine> bad_lines;  // the first of them
  std::vector<ShardEntry> shards;
};

struct Dataset {
  std::string build;
  std::string tokenizer_file, tokenizer_hash;
  std::int64_t vocabulary = 0;
  double validation = 0;
  std::string exclusion_method, exclusion_hash;
  std::vector<std::string> exclusion_tasks, exclusion_files, screened_tasks;
  text::TaskContents contents;  // of what was screened; none in a summary of an earlier version
  std::string exclusion_report = "{}";  // JSON
  std::vector<SourceSummary> sources;
};

constexpr const char* kDatasetFile = "dataset.json";

// Bad lines as a JSON list, and back.
std::string to_json(const std::vector<BadLine>& lines);
std::vector<BadLine> bad_lines_from_json(std::string_view json);

// InputError: not there (an unfinished build, or no folder of shards), not readable.
Dataset read_dataset(const base::Path& directory);
void write_dataset(const base::Path& directory, const Dataset& dataset);

// One line a source and one for all: documents read, removed by each filter and task, written,
// tokens, held out.
std::string dataset_table(const Dataset& dataset);

}  // namespace eyrie::data_pipeline
