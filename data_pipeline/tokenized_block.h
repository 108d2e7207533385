// The result of one block of lines: its tokenized documents, and counts of those that were left
// out. A build keeps these part files in a folder beside its shards until the shards are written,
// so that it can be continued if it is stopped.
#pragma once

#include <optional>
#include <vector>

#include "base/file.h"
#include "data_pipeline/dataset.h"
#include "data_pipeline/exclusion.h"
#include "data_pipeline/shard.h"

namespace eyrie::data_pipeline {

struct TokenizedBlock {
  DocumentCounts counts;
  // The first kNamedBadLines; the block's file stands for BadLine::file, which is empty.
  std::vector<BadLine> bad_lines;
  Findings findings;
  ShardDocuments documents;
};

void write_tokenized_block(const base::Path& path, const TokenizedBlock& part);

// Returns nothing if the part file is missing or damaged; the caller then makes it again.
std::optional<TokenizedBlock> read_tokenized_block(const base::Path& path);

}  // namespace eyrie::data_pipeline
