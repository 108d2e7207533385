// One line of a source at a time: filters, exclusion, tokens, quality, side (training or held out).
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "data_pipeline/data_config.h"
#include "data_pipeline/documents.h"
#include "data_pipeline/exclusion.h"
#include "data_pipeline/part.h"
#include "text/tokenizer.h"

namespace eyrie::data_pipeline {

class PartBuilder {
 public:
  // All but `validation` must live as long as this object.
  PartBuilder(const SourceConfig& source, const text::Tokenizer& tokenizer,
              const ExclusionIndex& exclusion, double validation);

  // Adds the document of this line, or counts why not. InputError: a bad line, unless the source
  // skips them.
  void add(std::string_view line, const base::Path& file, std::int64_t number, Part& part);

 private:
  const SourceConfig& source_;
  const text::Tokenizer& tokenizer_;
  const ExclusionIndex& exclusion_;
  double validation_;
  bool utf8_;
  DocumentParser parser_;
  std::vector<std::int32_t> document_;
};

// Whether the document with this hash is held out, a share of all documents being asked for.
bool held_out(std::uint64_t document_hash, double share);

}  // namespace eyrie::data_pipeline
