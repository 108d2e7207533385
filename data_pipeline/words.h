// Splits text into the words that exclusion and duplicate detection compare: lower-cased, without
// punctuation.
//
// A word is a run of letters, marks and digits (Unicode categories L, M, N), lower-cased by
// Unicode's simple case folding. White space and control characters (Z, Cc) end a word. Punctuation
// and symbols (P, S) are either deleted, so that "well-known" is the one word "wellknown", or they
// end a word too, so that "end,begin" is two words. Apostrophes are always deleted ("don't" is
// "dont"), and so are format characters (Cf: soft hyphens, zero-width spaces).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace eyrie::data_pipeline {

enum class Punctuation { kDelete, kSplit };

struct Words {
  std::vector<std::uint64_t> hashes;  // of the lower-cased letters of each word
  std::vector<std::uint32_t> begins;  // byte offset in the text of each word
  // 1 if the word has two or more characters, one of which is a letter (or not ASCII).
  std::vector<std::uint8_t> verbal;
};

// Overwrites `words`, reusing its memory. The text must be UTF-8 below 4 GiB; an invalid byte ends
// a word.
void split_words(std::string_view text, Punctuation punctuation, Words& words);

// All that is asked of a document's words, found in one scan.
struct DocumentWords {
  Words deleted, split;    // with punctuation deleted, and with punctuation that ends words
  std::uint64_t hash = 0;  // document_hash()

  const Words& of(Punctuation punctuation) const {
    return punctuation == Punctuation::kDelete ? deleted : split;
  }

 private:
  friend void scan_document(std::string_view text, DocumentWords& words);
  std::string normalised_;
};
void scan_document(std::string_view text, DocumentWords& words);

// Returns the same words as text, joined by single blanks.
std::string normalised(std::string_view text, Punctuation punctuation);

// xxh3 of the normalised text (with punctuation deleted), or of the text itself if it has no words.
// Documents that differ only in case, punctuation and white space have equal hashes.
std::uint64_t document_hash(std::string_view text);

}  // namespace eyrie::data_pipeline
