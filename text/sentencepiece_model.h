// A SentencePiece model file as what is in it: the library does not show its normalizer.
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
    std::string_view text;  // of the file's bytes
    int type = kNormal;
  };
  static constexpr int kUnigram = 1, kBpe = 2;

  std::vector<Piece> pieces;
  int algorithm = kUnigram;
  bool whitespace_is_suffix = false, byte_fallback = false;
  std::string_view rules;  // of the normalizer, compiled; empty: the text stays as it is
  bool dummy_prefix = true, remove_extra_whitespaces = true, escape_whitespaces = true;
};

// Nothing where the file is cut off or no protocol buffer. Pieces come first in it, so a file cut
// off between two pieces still parses, as a model of fewer pieces: the last parts, the trainer's
// and the normalizer's settings, must be there.
std::optional<SentencePieceModel> parse_sentencepiece_model(std::string_view bytes);

}  // namespace eyrie::text
