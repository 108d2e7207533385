// Fills the tables of the n-gram index and looks windows up in them.
#include "data_pipeline/gram_tables.h"

#include <algorithm>
#include <array>

namespace eyrie::data_pipeline {

void Windows::set(const Words& words) {
  if (powers_.empty()) {
    powers_.resize(kGramWords + 1, 1);
    for (int i = 1; i <= kGramWords; ++i) powers_[i] = powers_[i - 1] * kBase;
  }
  sums_.resize(words.hashes.size() + 1);
  sums_[0] = 0;
  for (std::size_t i = 0; i < words.hashes.size(); ++i)
    sums_[i + 1] = sums_[i] * kBase + words.hashes[i];
}

void BitMap::resize(std::size_t entries) {
  std::size_t bits = 64;
  shift_ = 58;
  while (bits < entries * 16) bits *= 2, --shift_;
  words_.assign(bits / 64, 0);
}

std::size_t ExclusionIndex::Tables::group(const std::string& name) {
  for (std::size_t i = 0; i < groups.size(); ++i)
    if (groups[i].name == name) return i;
  groups.push_back({name, {}, 0, {}});
  return groups.size() - 1;
}

void ExclusionIndex::Tables::add_grams(std::string_view form, std::uint32_t item) {
  for (const Punctuation way : kWays) {
    split_words(form, way, scratch.words);
    scratch.windows.set(scratch.words);
    const std::size_t before = entries.size();
    for (const bool any : {false, true}) {
      if (entries.size() > before) break;
      for (std::size_t i = 0; i + kGramWords <= scratch.windows.words(); ++i)
        if (any || telling(i)) entries.push_back({scratch.windows.hash(i, kGramWords), item});
    }
  }
}

bool ExclusionIndex::Tables::telling(std::size_t begin) const {
  std::array<std::uint64_t, kVerbalWords> seen{};
  int different = 0;
  for (std::size_t i = begin; i < begin + kGramWords && different < kVerbalWords; ++i) {
    const std::uint64_t word = scratch.words.hashes[i];
    if (scratch.words.verbal[i] &&
        std::find(seen.begin(), seen.begin() + different, word) == seen.begin() + different)
      seen[different++] = word;
  }
  return different == kVerbalWords;
}

void ExclusionIndex::Tables::add_whole(std::string_view form, std::uint32_t item) {
  for (const Punctuation way : kWays) {
    split_words(form, way, scratch.words);
    scratch.windows.set(scratch.words);
    const int words = static_cast<int>(std::min<std::size_t>(scratch.windows.words(), kGramWords));
    if (words < kShortestWhole || words >= kGramWords) continue;
    entries.push_back({scratch.windows.hash(0, words), item});
    heads.push_back(scratch.windows.hash(0, kShortestWhole));
  }
}

std::size_t ExclusionIndex::Tables::words_in(std::string_view form) {
  split_words(form, Punctuation::kDelete, scratch.words);
  return scratch.words.hashes.size();
}

std::pair<const ExclusionIndex::Tables::Entry*, const ExclusionIndex::Tables::Entry*>
ExclusionIndex::Tables::find(std::uint64_t gram) const {
  const Entry* end = entries.data() + entries.size();
  const Entry* first = std::lower_bound(entries.data(), end, Entry{gram, 0});
  const Entry* last = first;
  while (last != end && last->gram == gram) ++last;
  return {first, last};
}

}  // namespace eyrie::data_pipeline
