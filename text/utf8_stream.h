// Text of a growing token sequence: whole characters only, up to a stop text.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace eyrie::text {

// Pieces depend on their neighbours (blanks, byte pieces), so a short tail is decoded again with
// each token. What could be the beginning of the stop text is held back until it is decided.
class Utf8Stream {
 public:
  // `before`: the tokens that the text goes on from (a leading blank depends on them); `stop` may
  // be empty: none.
  Utf8Stream(const Tokenizer& tokenizer, const std::vector<std::int32_t>& before, std::string stop);

  std::string add(std::int32_t token);  // the text that is certain now and was not before
  std::string finish();                 // what was held back
  bool stopped() const { return stopped_; }

 private:
  std::string release(bool all);

  const Tokenizer& tokenizer_;
  std::string stop_;
  std::vector<std::int32_t> tail_;  // tokens whose text may still change with the next one
  std::string decoded_;             // text of the tail that was taken into pending_
  std::string pending_;             // certain, but perhaps the beginning of the stop text
  bool stopped_ = false;
};

}  // namespace eyrie::text
