// Text as the words that exclusion and duplicate detection compare: lower-cased, without
// punctuation.
//
// A word is a run of letters, marks and digits (Unicode categories L, M, N), lower-cased by
// Unicode's simple case folding. White space and control characters (Z, Cc) end a word. Punctuation
// and symbols (P, S) are either deleted, so that "well-known" is one word "wellknown", or end a
// word too, so that "end,begin" is two; apostrophes are deleted either way ("don't" is "dont").
// Format characters (Cf: soft hyphens, zero-width blanks) are deleted.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace eyrie::data_pipeline {

enum class Punctuation { kDelete, kSplit };

struct Words {
  std::vector<std::uint64_t> hashes;  // of each word's lower-cased letters
  std::vector<std::uint32_t> begins;  // byte in the text where each word begins
  std::vector<std::uint8_t>
      verbal;  // 1: two or more characters, one of them a letter (or beyond ASCII)
};

// Replaces what `words` held; its memory is used again. Text: UTF-8 below 4 GiB; a broken byte ends
// a word.
void split_words(std::string_view text, Punctuation punctuation, Words& words);

// The same words as text, joined by one blank.
std::string normalised(std::string_view text, Punctuation punctuation);

// xxh3 of the normalised text (punctuation deleted); of the text itself where that has no words.
// Documents that differ in case, punctuation and white space alone have equal hashes.
std::uint64_t document_hash(std::string_view text);

}  // namespace eyrie::data_pipeline
