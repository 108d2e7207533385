// The text of a growing token sequence: only whole characters, up to the first of some stop texts.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace eyrie::text {

// Pieces depend on their neighbours (blanks, byte pieces), so a short tail is decoded again with
// each token. Text that may be the beginning of a stop text is held back until that is decided.
class StreamingDetokenizer {
 public:
  // `before`: the tokens that precede the text (a leading blank depends on them). Empty stop texts
  // are ignored.
  StreamingDetokenizer(const Tokenizer& tokenizer, const std::vector<std::int32_t>& before,
                       const std::vector<std::string>& stops);

  // Both return whole characters only: bytes that can be no part of a character become U+FFFD.
  std::string add(std::int32_t token);  // returns the text that has become certain
  std::string finish();  // returns what was held back, except an incomplete character
  bool stopped() const { return stopped_; }
  const std::string& stop() const { return stop_; }  // the stop text that came first; empty if none

 private:
  std::string release(bool all);

  const Tokenizer& tokenizer_;
  std::vector<std::string> stops_;
  std::vector<std::int32_t> tail_;  // tokens whose text may still change with the next one
  std::string decoded_;             // text of the tail that was already added to pending_
  std::string pending_;             // certain, but perhaps the beginning of a stop text
  bool stopped_ = false;
  std::string stop_;
};

}  // namespace eyrie::text
