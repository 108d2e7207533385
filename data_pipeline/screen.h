// `eyrie data screen`: what documents share with evaluation items; nothing is changed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/file.h"
#include "data_pipeline/exclusion.h"
#include "parallel/communicator.h"

namespace eyrie::data_pipeline {

struct ScreenResult {
  struct Hit {
    std::string file;
    std::int64_t line = 0;
    ExclusionIndex::Match match;  // the longest of the document
  };
  std::int64_t documents = 0, bytes = 0;  // read
  std::vector<Hit> hits;                  // one a document that shares something, by file and line
  Findings findings;                      // one a group of the index
};

// Collective: lines are dealt to the ranks; all of them return the whole result. InputError: a file
// that is not there, a bad line.
ScreenResult screen_files(const std::vector<base::Path>& files, const std::string& field,
                          const ExclusionIndex& index, parallel::Communicator& communicator);

// The result as JSON: documents, bytes, hits, and the report by task.
std::string to_json(const ScreenResult& result, const ExclusionIndex& index);

}  // namespace eyrie::data_pipeline
