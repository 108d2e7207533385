// Finds where a long text may be cut so that its pieces, encoded one by one, give the tokens of the
// whole text.
//
// BPE merges only look at neighbours, so the two sides of a position are never merged if no piece
// of the vocabulary contains the characters on both sides. For most vocabularies and characters
// this holds before a blank or line break that follows an ordinary character; which characters
// these are is read from the model's pieces and its normalizer's rules. What a tokenizer does at
// the beginning of a text (adding or removing blanks) must affect only the first piece, so a letter
// is put before all other pieces, and its tokens are removed afterwards.
//
// There is no rule for unigram models (their sums are rounded along the whole text, so that distant
// parts are not independent), for models with unused pieces, or for blanks as suffixes.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "text/sentencepiece_model.h"

namespace eyrie::text {

class CutRule {
 public:
  CutRule() = default;  // never cuts
  explicit CutRule(const SentencePieceModel& model);

  // Returns the first position at or after `from` (at least 1) before which the text may be cut;
  // the text's size if there is none.
  std::size_t next(std::string_view text, std::size_t from) const;
  // The letter to put before every piece but the first.
  std::string_view before() const { return before_; }

 private:
  struct Separator {
    char byte;                     // a blank or a line break
    std::set<char32_t> not_after;  // characters after which the text must not be cut
  };
  bool may_cut(std::string_view text, std::size_t at) const;

  std::vector<Separator> separators_;
  std::string before_;
};

}  // namespace eyrie::text
