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

enum class Format { kJsonl, kText };  // a document a line, or a document a file

// What `validation` is a share of: the documents, chosen by hash, or every document, its end.
enum class HoldOut { kDocuments, kEnd };

struct SourceConfig {
  std::string name;               // of letters, digits, '_' and '-'
  std::vector<base::Path> files;  // those that match, sorted; at least one
  Format format = Format::kJsonl;
  HoldOut hold_out = HoldOut::kDocuments;  // with plain text kEnd, unless the file says otherwise
  std::string text = "text";               // the JSON field
  std::vector<std::string> filters;
  bool skip_bad_lines = false;  // on_error: skip; else a bad line (or text) is an error
};

struct DataConfig {
  std::string tokenizer;
  base::Path output;
  std::int64_t shard_tokens = 16 << 20;
  double validation = 0.005;  // share that is held out: of the documents, or of each one's text
  std::size_t largest_document = kLargestDocument;  // bytes of a line or a plain text
  std::size_t largest_piece = text::kLargestPiece;  // bytes that are encoded in one go
  std::vector<std::string> exclude_tasks, exclude_files;
  std::string exclude_method = "none";  // ngram where there are tasks or files
  std::vector<SourceConfig> sources;
};

// InputError names file, line and key: unknown key or value, nothing matches, a filter that this
// version does not have.
DataConfig read_data_config(base::Config config);

}  // namespace eyrie::data_pipeline
