// dataset.json: what a folder of shards holds (docs/formats/shard.md). Written last, so that its
// being there says that the build was finished.
#pragma once

#include <cstdint>
#include <string>
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

struct SourceSummary {
  std::string name;
  std::vector<std::pair<std::string, std::string>> files;  // name, hash of its bytes
  std::vector<std::string> filters;
  DocumentCounts counts;
  std::vector<std::pair<std::string, std::int64_t>>
      excluded_by_task;  // a document may count for several
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

// InputError: not there (an unfinished build, or no folder of shards), not readable.
Dataset read_dataset(const base::Path& directory);
void write_dataset(const base::Path& directory, const Dataset& dataset);

// One line a source and one for all: documents read, removed by each filter and task, written,
// tokens, held out.
std::string dataset_table(const Dataset& dataset);

}  // namespace eyrie::data_pipeline
