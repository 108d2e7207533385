// The result of one block of lines: its documents, tokenised, and what became of the others. A
// build keeps finished parts in a folder beside its shards until the shards are written, so that it
// can be started again where it stopped.
#pragma once

#include <optional>
#include <vector>

#include "base/file.h"
#include "data_pipeline/dataset.h"
#include "data_pipeline/exclusion.h"
#include "data_pipeline/shard.h"

namespace eyrie::data_pipeline {

struct Part {
  DocumentCounts counts;
  std::vector<BadLine> bad_lines;  // the first kNamedBadLines; their file is the part's
  Findings findings;
  ShardDocuments documents;
};

void write_part(const base::Path& path, const Part& part);

// Nothing where there is no such part or it is damaged: it is then made again.
std::optional<Part> read_part(const base::Path& path);

}  // namespace eyrie::data_pipeline
