// Tokenizers that find the markers of turns in texts, as Gemma's do: made of tokenizers of this
// repository by a change of a few bytes.
#pragma once

#include <stdexcept>
#include <string>

#include "base/file.h"

namespace eyrie::test {

// data/tokenizers/small.model with its two markers as user-defined pieces, ids 3 and 4. No blank in
// front of a text.
inline void write_gemma_like(const base::Path& path) {
  std::string model = base::read_file(EYRIE_SOURCE_DIR "/data/tokenizers/small.model");
  for (const std::string marker : {"<start_of_turn>", "<end_of_turn>"}) {
    // The piece's text, its score (a tag and four bytes), and its type: 3 is CONTROL, 4
    // USER_DEFINED.
    const std::size_t type = model.find(marker) + marker.size() + 5;
    if (model.substr(type, 2) != "\x18\x03") throw std::runtime_error("no type of " + marker);
    model[type + 1] = '\x04';
  }
  base::write_file(path, model);
}

// tests/fixtures/tokenizer (a blank in front of every text, NFKC) with the two markers as further,
// user-defined pieces behind its own.
inline void write_blank_in_front(const base::Path& path) {
  std::string model =
      base::read_file(EYRIE_SOURCE_DIR "/tests/fixtures/tokenizer/test_model.model");
  for (const std::string marker : {"<start_of_turn>", "<end_of_turn>"}) {
    std::string piece = "\x0a";
    piece += static_cast<char>(marker.size());
    piece += marker + std::string("\x15\0\0\0\0\x18\x04", 7);
    model += "\x0a";
    model += static_cast<char>(piece.size());
    model += piece;
  }
  base::write_file(path, model);
}

}  // namespace eyrie::test
