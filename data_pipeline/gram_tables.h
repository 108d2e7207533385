// The tables of the n-gram index: hashes of word windows in one sorted array. A bit map in front of
// it answers most questions of the kind "is this window in any item?" without touching the array.
// Used only by exclusion.cc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "data_pipeline/exclusion.h"
#include "data_pipeline/words.h"

namespace eyrie::data_pipeline {

constexpr Punctuation kWays[] = {Punctuation::kDelete, Punctuation::kSplit};

// Hashes any window of words in constant time, with a polynomial over the word hashes modulo 2^64.
class Windows {
 public:
  void set(const Words& words);
  std::size_t words() const { return sums_.size() - 1; }
  std::uint64_t hash(std::size_t begin, int count) const {
    std::uint64_t h = sums_[begin + count] - sums_[begin] * powers_[count];
    h = (h ^ h >> 32 ^ static_cast<std::uint64_t>(count) << 56) * 0xD6E8FEB86659FD93u;
    h = (h ^ h >> 32) * 0xD6E8FEB86659FD93u;
    return h ^ h >> 32;
  }

 private:
  static constexpr std::uint64_t kBase = 0x9FB21C651E98DF25u;
  std::vector<std::uint64_t> sums_, powers_;
};

class BitMap {
 public:
  void resize(std::size_t entries);
  void set(std::uint64_t hash) { words_[hash >> shift_ >> 6] |= bit(hash); }
  bool test(std::uint64_t hash) const { return words_[hash >> shift_ >> 6] & bit(hash); }

 private:
  std::uint64_t bit(std::uint64_t hash) const { return std::uint64_t{1} << (hash >> shift_ & 63); }
  std::vector<std::uint64_t> words_ = {0};
  int shift_ = 58;
};

struct Scratch {
  Words words;
  Windows windows;
};

struct ExclusionIndex::Tables {
  struct Entry {
    std::uint64_t gram;
    std::uint32_t item;
    auto operator<=>(const Entry&) const = default;
  };
  struct Item {
    std::uint32_t group;
    std::string id;
  };

  // Returns the index of the group, which is added if it does not exist.
  std::size_t group(const std::string& name);

  // Adds the windows of 13 words that have enough verbal words, or all windows if none has. Does so
  // for both ways of treating punctuation.
  void add_grams(std::string_view form, std::uint32_t item);

  // Returns whether the window of 13 words at `begin` in `scratch` has enough verbal words.
  bool telling(std::size_t begin) const;

  // Adds the form as one window if it has 6 to 12 words.
  void add_whole(std::string_view form, std::uint32_t item);

  std::size_t words_in(std::string_view form);

  // Returns the range of entries of this window. Test `grams_there` first: it rules out most
  // windows.
  std::pair<const Entry*, const Entry*> find(std::uint64_t gram) const;

  std::vector<Group> groups;
  std::vector<Item> items;
  // Content hashes of the items, by leaf task and split.
  std::map<std::string, std::map<std::string, std::vector<std::uint64_t>>> contents;
  std::vector<Entry> entries;  // sorted by finish()
  // Hashes of the first 6 words of each form that add_whole() added; only used until finish().
  std::vector<std::uint64_t> heads;
  std::vector<std::uint64_t> item_hashes;
  BitMap grams_there, heads_there;
  std::size_t distinct = 0;
  Scratch scratch;  // used by add()
};

}  // namespace eyrie::data_pipeline
