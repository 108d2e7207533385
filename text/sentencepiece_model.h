// The content of a SentencePiece model file. The library does not expose its normalizer.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace eyrie::text {

struct SentencePieceModel {
  enum Type { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };
  struct Piece {
    std::string_view text;  // a view of the file's bytes
    int type = kNormal;
  };
  static constexpr int kUnigram = 1, kBpe = 2;

  std::vector<Piece> pieces;
  int algorithm = kUnigram;
  bool whitespace_is_suffix = false, byte_fallback = false;
  std::string_view rules;  // of the normalizer, compiled; empty: the text is not changed
  bool dummy_prefix = true, remove_extra_whitespaces = true, escape_whitespaces = true;
};

// Returns nothing if the file is truncated or not a protocol buffer. Pieces come first in the file,
// so a file cut off between two pieces still parses, as a model with fewer pieces. Therefore the
// last parts, the trainer's and the normalizer's settings, must be present.
std::optional<SentencePieceModel> parse_sentencepiece_model(std::string_view bytes);

// Returns the same model, except that no text is ever encoded as one of these pieces. Ids do not
// change.
std::string without_pieces(std::string_view model, const std::vector<std::string>& pieces);

}  // namespace eyrie::text
