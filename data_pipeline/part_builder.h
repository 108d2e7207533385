// One document of a source at a time: filters, exclusion, tokens, quality, side (training or held
// out).
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
              const ExclusionIndex& exclusion, double validation, std::size_t largest_piece);

  // Adds the document of this line, or counts why not. A `problem` with the line that was found
  // before makes it a bad line. InputError: a bad line, unless the source skips them.
  void add_line(std::string_view line, const base::Path& file, std::int64_t number,
                const std::string& problem, Part& part);

  // The same of a plain-text file, whole.
  void add_text(std::string_view text, const base::Path& file, const std::string& problem,
                Part& part);

 private:
  void refuse(const base::Path& file, const BadLine& bad, bool not_utf8, Part& part) const;
  void screen(std::string_view text, Part& part);
  std::vector<std::int32_t> encode(std::string_view text) const;
  void write(std::string_view text, const std::vector<std::int32_t>& ids, std::uint64_t hash,
             bool held, Part& part);

  const SourceConfig& source_;
  const text::Tokenizer& tokenizer_;
  const ExclusionIndex& exclusion_;
  double validation_;
  std::size_t largest_piece_;
  bool utf8_;
  DocumentParser parser_;
  std::vector<std::int32_t> document_;
};

// Whether the document with this hash is held out, a share of all documents being asked for.
bool held_out(std::uint64_t document_hash, double share);

// Where a text is cut so that about this share of its bytes is held out at its end: at the
// beginning of a character, never so that one of the parts would be blank (text.size(): it is not
// cut).
std::size_t hold_out_from(std::string_view text, double share);

}  // namespace eyrie::data_pipeline
