// DATA.yaml as structs.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/config.h"
#include "base/file.h"
#include "data_pipeline/documents.h"
#include "text/tokenizer.h"

namespace eyrie::data_pipeline {

enum class Format { kJsonl, kText };  // one document per line, or one document per file

// What `validation` is a share of: of the documents (chosen by hash), or of each document's text
// (taken from its end).
enum class HoldOut { kDocuments, kEnd };

struct SourceConfig {
  std::string name;               // letters, digits, '_' and '-'
  std::vector<base::Path> files;  // all files that match, sorted; at least one
  Format format = Format::kJsonl;
  // The default is kEnd for plain text.
  HoldOut hold_out = HoldOut::kDocuments;
  std::string text = "text";  // the JSON field that holds the text
  std::vector<std::string> filters;
  // on_error: skip. Otherwise a bad line (or plain-text file) is an error.
  bool skip_bad_lines = false;
};

struct DataConfig {
  std::string tokenizer;
  base::Path output;
  std::int64_t shard_tokens = 16 << 20;
  // The share that is held out: of the documents, or of each document's text.
  double validation = 0.005;
  std::size_t largest_document = kLargestDocument;  // limit in bytes per line or plain-text file
  std::size_t largest_piece = text::kLargestPiece;  // limit in bytes tokenized in one go
  std::vector<std::string> exclude_tasks, exclude_files;
  std::string exclude_method = "none";  // "ngram" by default if there are tasks or files
  std::vector<SourceConfig> sources;
};

// Throws InputError naming file, line and key at an unknown key or value, a pattern without
// matches, or a filter that this version does not have.
DataConfig read_data_config(base::Config config);

}  // namespace eyrie::data_pipeline
