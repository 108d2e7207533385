// Splits text into words: a table for ASCII, ICU's categories and case folding for the rest.
#include "data_pipeline/words.h"

#include <unicode/uchar.h>
#include <unicode/utf8.h>

#include <array>

#include "base/error.h"
#include "base/hash.h"

namespace eyrie::data_pipeline {
namespace {

enum Kind : std::uint8_t { kWord, kEnd, kPunctuation, kNothing, kBeyond };

constexpr std::array<Kind, 256> make_kinds() {
  std::array<Kind, 256> kinds{};
  for (int c = 0; c < 256; ++c) {
    const bool digit = c >= '0' && c <= '9';
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    kinds[c] = c >= 128              ? kBeyond
               : digit || letter     ? kWord
               : c == '\''           ? kNothing
               : c <= 32 || c == 127 ? kEnd
                                     : kPunctuation;
  }
  return kinds;
}
constexpr std::array<Kind, 256> kKinds = make_kinds();

constexpr std::uint8_t lower(std::uint8_t c) { return c >= 'A' && c <= 'Z' ? c | 0x20 : c; }

Kind kind_beyond_ascii(UChar32 c) {
  if (c < 0) return kEnd;                                                         // not UTF-8
  if (c == 0x2019 || c == 0x2018 || c == 0x02BC || c == 0xFF07) return kNothing;  // apostrophes
  const std::uint32_t category = U_GET_GC_MASK(c);
  if (category & (U_GC_L_MASK | U_GC_M_MASK | U_GC_N_MASK)) return kWord;
  if (category & (U_GC_P_MASK | U_GC_S_MASK)) return kPunctuation;
  if (category & U_GC_CF_MASK) return kNothing;
  return kEnd;
}

// Calls letter(byte, position of its character) for every byte of a word, punctuation() at
// punctuation, and end() wherever else a word ends.
template <class Letter, class AtPunctuation, class End>
void scan(std::string_view text, Letter&& letter, AtPunctuation&& punctuation, End&& end) {
  EYRIE_CHECK(text.size() < 0xFFFFFFFFu, "a document of 4 GiB or more");
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(text.data());
  const std::uint32_t size = static_cast<std::uint32_t>(text.size());
  std::uint32_t at = 0;
  while (at < size) {
    const std::uint8_t byte = bytes[at];
    Kind kind = kKinds[byte];
    if (kind == kWord) {
      letter(lower(byte), at++);
      continue;
    }
    if (kind == kBeyond) {
      const std::uint32_t begin = at;
      UChar32 c;
      U8_NEXT(bytes, at, size, c);
      kind = kind_beyond_ascii(c);
      if (kind == kWord) {
        std::uint8_t folded[U8_MAX_LENGTH];
        int length = 0;
        const UChar32 small = u_foldCase(c, U_FOLD_CASE_DEFAULT);
        U8_APPEND_UNSAFE(folded, length, small);
        for (int i = 0; i < length; ++i) letter(folded[i], begin);
      }
    } else {
      ++at;
    }
    if (kind == kEnd) end();
    if (kind == kPunctuation) punctuation();
  }
  end();
}

constexpr std::uint64_t kStart = 0x9E3779B97F4A7C15u;
constexpr std::uint64_t kPrime = 0x00000100000001B3u;

// The finalizer of MurmurHash3: spreads the last letters over all bits.
std::uint64_t spread(std::uint64_t h) {
  h ^= h >> 33;
  h *= 0xFF51AFD7ED558CCDu;
  h ^= h >> 33;
  h *= 0xC4CEB9FE1A85EC53u;
  return h ^ h >> 33;
}

// Collects the words of a text, letter by letter.
class Collector {
 public:
  explicit Collector(Words& words) : words_(words) {
    words.hashes.clear();
    words.begins.clear();
    words.verbal.clear();
  }
  void letter(std::uint8_t byte, std::uint32_t at) {
    if (!inside_) {
      inside_ = true;
      words_.begins.push_back(at);
    } else {
      longer_ |= at != last_;
    }
    last_ = at;
    letter_ |= byte >= 'a';
    hash_ = (hash_ ^ byte) * kPrime;
  }
  void end() {
    if (!inside_) return;
    words_.hashes.push_back(spread(hash_));
    words_.verbal.push_back(letter_ && longer_);
    hash_ = kStart;
    inside_ = letter_ = longer_ = false;
  }

 private:
  Words& words_;
  std::uint64_t hash_ = kStart;
  std::uint32_t last_ = 0;
  bool inside_ = false, letter_ = false, longer_ = false;
};

// Collects the normalised text.
class Normaliser {
 public:
  explicit Normaliser(std::string& text) : text_(text) { text.clear(); }
  void letter(std::uint8_t byte) {
    if (!inside_ && !text_.empty()) text_ += ' ';
    inside_ = true;
    text_ += static_cast<char>(byte);
  }
  void end() { inside_ = false; }

 private:
  std::string& text_;
  bool inside_ = false;
};

std::uint64_t hash_of(std::string_view text, std::string_view normalised) {
  return base::hash_text(normalised.empty() ? text : normalised);
}

}  // namespace

void split_words(std::string_view text, Punctuation punctuation, Words& words) {
  Collector collector(words);
  scan(
      text, [&](std::uint8_t byte, std::uint32_t at) { collector.letter(byte, at); },
      [&] {
        if (punctuation == Punctuation::kSplit) collector.end();
      },
      [&] { collector.end(); });
}

std::string normalised(std::string_view text, Punctuation punctuation) {
  std::string result;
  Normaliser normaliser(result);
  scan(
      text, [&](std::uint8_t byte, std::uint32_t) { normaliser.letter(byte); },
      [&] {
        if (punctuation == Punctuation::kSplit) normaliser.end();
      },
      [&] { normaliser.end(); });
  return result;
}

std::uint64_t document_hash(std::string_view text) {
  return hash_of(text, normalised(text, Punctuation::kDelete));
}

void scan_document(std::string_view text, DocumentWords& words) {
  Collector deleted(words.deleted), split(words.split);
  Normaliser normaliser(words.normalised_);
  scan(
      text,
      [&](std::uint8_t byte, std::uint32_t at) {
        deleted.letter(byte, at);
        split.letter(byte, at);
        normaliser.letter(byte);
      },
      [&] { split.end(); },
      [&] {
        deleted.end();
        split.end();
        normaliser.end();
      });
  words.hash = hash_of(text, words.normalised_);
}

}  // namespace eyrie::data_pipeline
