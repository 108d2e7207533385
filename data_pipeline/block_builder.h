// Turns the documents of one source into tokens, one document at a time: filters, exclusion,
// tokenization, quality score, and training or held out.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "data_pipeline/data_config.h"
#include "data_pipeline/documents.h"
#include "data_pipeline/exclusion.h"
#include "data_pipeline/tokenized_block.h"
#include "data_pipeline/words.h"
#include "text/tokenizer.h"

namespace eyrie::data_pipeline {

class BlockBuilder {
 public:
  // All arguments passed by reference must outlive this object. `validation` is the held-out share.
  BlockBuilder(const SourceConfig& source, const text::Tokenizer& tokenizer,
               const ExclusionIndex& exclusion, double validation, std::size_t largest_piece);

  // Parses the line and adds its document to `part`, or counts in `part` why it was left out. A
  // non-empty `problem` (found while reading the line) makes the line a bad one. Throws InputError
  // at a bad line unless the source skips bad lines.
  void add_line(std::string_view line, const base::Path& file, std::int64_t number,
                const std::string& problem, TokenizedBlock& part);

  // The same for a whole plain-text file, which is one document.
  void add_text(std::string_view text, const base::Path& file, const std::string& problem,
                TokenizedBlock& part);

 private:
  void refuse(const base::Path& file, const BadLine& bad, bool not_utf8,
              TokenizedBlock& part) const;
  void screen(std::string_view text, TokenizedBlock& part);
  std::vector<std::int32_t> encode(std::string_view text) const;
  void write(std::string_view text, const std::vector<std::int32_t>& ids, bool held,
             TokenizedBlock& part);

  const SourceConfig& source_;
  const text::Tokenizer& tokenizer_;
  const ExclusionIndex& exclusion_;
  double validation_;
  std::size_t largest_piece_;
  bool utf8_;
  DocumentParser parser_;
  std::vector<std::int32_t> document_;
  DocumentWords words_;
};

// Returns whether the document with this hash is held out when `share` of all documents is to be.
bool held_out(std::uint64_t document_hash, double share);

// Returns the byte at which to cut a text so that about `share` of its bytes, at its end, is held
// out. The cut is at the start of a character. Returns text.size() (no cut) if one of the two parts
// would be blank.
std::size_t hold_out_from(std::string_view text, double share);

}  // namespace eyrie::data_pipeline
