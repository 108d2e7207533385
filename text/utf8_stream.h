// Text of a growing token sequence: whole characters only, up to the first of some stop texts.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace eyrie::text {

// Pieces depend on their neighbours (blanks, byte pieces), so a short tail is decoded again with
// each token. What could be the beginning of a stop text is held back until it is decided.
class Utf8Stream {
 public:
  // `before`: the tokens that the text goes on from (a leading blank depends on them). Empty stop
  // texts do not count.
  Utf8Stream(const Tokenizer& tokenizer, const std::vector<std::int32_t>& before,
             const std::vector<std::string>& stops);

  // Always whole characters: what no character begins with or goes on with becomes U+FFFD.
  std::string add(std::int32_t token);  // the text that is certain now and was not before
  std::string finish();                 // what was held back, but for a character cut off
  bool stopped() const { return stopped_; }
  const std::string& stop() const { return stop_; }  // the stop text that came first; or empty

 private:
  std::string release(bool all);

  const Tokenizer& tokenizer_;
  std::vector<std::string> stops_;
  std::vector<std::int32_t> tail_;  // tokens whose text may still change with the next one
  std::string decoded_;             // text of the tail that was taken into pending_
  std::string pending_;             // certain, but perhaps the beginning of a stop text
  bool stopped_ = false;
  std::string stop_;
};

}  // namespace eyrie::text
