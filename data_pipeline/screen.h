// `eyrie data screen`: reports what documents share with evaluation items, and changes nothing.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/file.h"
#include "data_pipeline/exclusion.h"
#include "parallel/communication/communicator.h"

namespace eyrie::data_pipeline {

struct ScreenResult {
  struct Hit {
    std::string file;
    std::int64_t line = 0;
    ExclusionIndex::Match match;  // the longest match of this document
  };
  std::int64_t documents = 0, bytes = 0;  // documents and bytes read
  std::vector<Hit> hits;                  // one per document with a match, sorted by file and line
  Findings findings;                      // one entry per group of the index
};

// Collective. Lines are dealt out to the ranks, and every rank returns the whole result. Throws
// InputError at a missing file or a bad line.
ScreenResult screen_files(const std::vector<base::Path>& files, const std::string& field,
                          const ExclusionIndex& index, parallel::Communicator& communicator);

// The result as JSON: documents, bytes, hits, and the report by task.
std::string to_json(const ScreenResult& result, const ExclusionIndex& index);

}  // namespace eyrie::data_pipeline
