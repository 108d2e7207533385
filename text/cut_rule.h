// Where a long text may be cut so that its pieces, encoded one by one, give the tokens of the
// whole.
//
// The merges of BPE only look at neighbours, so two sides of a place never meet when no piece of
// the vocabulary holds what lies on both. That is so before a blank or line break that follows an
// ordinary character, for most vocabularies and characters; which, is read from the model: its
// pieces, and the rules of its normalizer. What a tokenizer does at the beginning of a text (a
// blank put before it, blanks taken away) is kept from all pieces but the first by a letter put
// before them, whose tokens are then taken off.
//
// No rule for unigram models (their sums are rounded along the whole text, so that far ends are not
// independent), for models with unused pieces, for blanks as suffixes.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "text/sentencepiece_model.h"

namespace eyrie::text {

class CutRule {
 public:
  CutRule() = default;  // nowhere
  explicit CutRule(const SentencePieceModel& model);

  // The first place at or behind `from` (at least 1) before which the text may be cut; its size
  // where there is none.
  std::size_t next(std::string_view text, std::size_t from) const;
  // The letter before every piece but the first.
  std::string_view before() const { return before_; }

 private:
  struct Separator {
    char byte;                     // a blank or a line break
    std::set<char32_t> not_after;  // characters behind which it is no place to cut
  };
  bool may_cut(std::string_view text, std::size_t at) const;

  std::vector<Separator> separators_;
  std::string before_;
};

}  // namespace eyrie::text
