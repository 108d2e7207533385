// The n-gram index: which n-grams of an item are indexed, and what a document shares with them.
#include "data_pipeline/exclusion.h"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>
#include <unordered_map>

#include "base/error.h"
#include "base/hash.h"
#include "data_pipeline/documents.h"
#include "data_pipeline/gram_tables.h"
#include "data_pipeline/words.h"

namespace eyrie::data_pipeline {
namespace {

// The largest number of distinct n-grams per task that one Findings keeps.
constexpr std::size_t kKeptGrams = 4096;

std::string item_id(const text::TaskItem& item) {
  return fmt::format("{}/{}/{}", item.task, item.split, item.index);
}

// Hashes the whole item, so that any change of a task's data or rendering changes the hash of the
// exclusion set.
std::uint64_t item_hash(const std::string& group, const text::TaskItem& item) {
  base::Hasher hasher;
  const auto add = [&](std::string_view text) {
    const std::uint64_t size = text.size();
    hasher.add(std::as_bytes(std::span(&size, 1)));
    hasher.add(text);
  };
  add(group);
  add(item_id(item));
  add(item.question);
  for (const std::string& choice : item.choices) add(choice);
  add(fmt::format("{}", item.gold));
  add(item.prompt);
  for (const std::string& target : item.targets) add(target);
  return hasher.value();
}

}  // namespace

void TaskFindings::add(const TaskFindings& other) {
  hits += other.hits;
  documents += other.documents;
  bytes += other.bytes;
  // Ties are broken by name, so that the order of adding does not matter.
  if (std::tuple(-other.longest, other.longest_item, other.longest_text) <
      std::tuple(-longest, longest_item, longest_text)) {
    longest = other.longest;
    longest_item = other.longest_item;
    longest_text = other.longest_text;
  }
  for (const auto& [gram, count] : other.grams) grams[gram] += count;
  items.insert(other.items.begin(), other.items.end());
}

ExclusionIndex::ExclusionIndex() : tables_(std::make_unique<Tables>()) { finish(); }
ExclusionIndex::~ExclusionIndex() = default;
ExclusionIndex::ExclusionIndex(ExclusionIndex&&) noexcept = default;
ExclusionIndex& ExclusionIndex::operator=(ExclusionIndex&&) noexcept = default;

ExclusionIndex::ExclusionIndex(const std::vector<std::string>& tasks,
                               const std::vector<std::string>& files,
                               const text::TaskPlaces& places)
    : tables_(std::make_unique<Tables>()) {
  for (const std::string& task : tasks)
    for (const text::TaskItem& item : text::all_items(task, places)) add(task, item);
  for (const std::string& file : files) {
    const std::size_t before = tables_->items.size();
    LineReader lines(file);
    DocumentParser parser("text");
    std::string_view line;
    while (lines.next(line)) {
      if (!lines.problem().empty())
        throw base::InputError(at_line(file, lines.number(), 0, lines.problem()));
      if (!parser.parse(line))
        throw base::InputError(at_line(file, lines.number(), parser.column(), parser.problem()));
      text::TaskItem item;
      item.task = file;
      item.split = "line";
      item.index = lines.number();
      item.question = std::string(parser.text());
      add("file:" + file, item);
    }
    if (tables_->items.size() == before)
      throw base::InputError(file + ": no items in it, so nothing would be kept out");
  }
  finish();
}

void ExclusionIndex::add(const std::string& group_name, const text::TaskItem& item) {
  Tables& t = *tables_;
  const std::size_t group_index = t.group(group_name);
  Group& group = t.groups[group_index];
  const auto index = static_cast<std::uint32_t>(t.items.size());
  t.items.push_back({static_cast<std::uint32_t>(group_index), item_id(item)});
  t.item_hashes.push_back(item_hash(group_name, item));
  if (!group_name.starts_with("file:"))
    t.contents[item.task][item.split].push_back(text::content_of(item));
  ++group.items;
  if (std::find(group.leaf_tasks.begin(), group.leaf_tasks.end(), item.task) ==
      group.leaf_tasks.end())
    group.leaf_tasks.push_back(item.task);

  const std::size_t first_entry = t.entries.size();
  t.add_grams(item.question, index);
  for (const std::string& choice : item.choices) {
    t.add_grams(choice, index);
    t.add_grams(item.question + " " + choice, index);
  }
  for (const std::string& target : item.targets) t.add_grams(item.prompt + " " + target, index);
  if (item.targets.empty()) t.add_grams(item.prompt, index);

  std::size_t most_words = 0;
  const auto whole = [&](std::size_t choice) {
    std::string joined = item.question;
    if (choice < item.choices.size()) joined += " " + item.choices[choice];
    const std::size_t words = t.words_in(joined);
    most_words = std::max(most_words, words);
    t.add_whole(joined, index);
    if (words >= kShortestWhole && choice < item.targets.size())
      t.add_whole(item.prompt + " " + item.targets[choice], index);
  };
  if (item.gold >= 0 || item.choices.empty()) {
    whole(item.gold >= 0 ? static_cast<std::size_t>(item.gold) : 0);
  } else {
    for (std::size_t choice = 0; choice < item.choices.size(); ++choice) whole(choice);
  }
  if (most_words < kShortestWhole) group.too_short.push_back(t.items.back().id);

  // The forms of an item overlap; each of its windows is kept once.
  std::sort(t.entries.begin() + first_entry, t.entries.end());
  t.entries.erase(std::unique(t.entries.begin() + first_entry, t.entries.end()), t.entries.end());
}

void ExclusionIndex::finish() {
  Tables& t = *tables_;
  std::sort(t.entries.begin(), t.entries.end());
  t.entries.shrink_to_fit();
  t.grams_there.resize(t.entries.size());
  t.distinct = 0;
  for (std::size_t i = 0; i < t.entries.size(); ++i) {
    t.grams_there.set(t.entries[i].gram);
    t.distinct += i == 0 || t.entries[i].gram != t.entries[i - 1].gram;
  }
  t.heads_there.resize(t.heads.size());
  for (const std::uint64_t head : t.heads) t.heads_there.set(head);
  std::sort(t.item_hashes.begin(), t.item_hashes.end());
}

bool ExclusionIndex::screen(std::string_view document, Findings& findings, Match* match) const {
  thread_local DocumentWords words;
  scan_document(document, words);
  return screen(document, words, findings, match);
}

bool ExclusionIndex::screen(std::string_view document, const DocumentWords& document_words,
                            Findings& findings, Match* match) const {
  const Tables& t = *tables_;
  if (t.entries.empty()) return false;
  findings.resize(t.groups.size());
  thread_local Windows windows;

  // Consecutive windows shared with one item: the current run and the longest one.
  struct Run {
    std::size_t begin, last, end, longest_begin, longest_end;
  };
  // What the document shares with one group.
  struct Shared {
    std::set<std::string> grams;
    std::set<std::uint32_t> items;
    std::set<std::uint32_t> places;  // byte offsets in the document where a shared window begins
  };
  std::map<std::uint32_t, Shared> shared;  // by group

  for (const Punctuation way : kWays) {
    windows.set(document_words.of(way));
    const std::vector<std::uint32_t>& begins = document_words.of(way).begins;
    const std::size_t words = windows.words();
    std::unordered_map<std::uint32_t, Run> runs;  // by item
    const auto text_of = [&](std::size_t begin, std::size_t end) {
      const std::size_t to = end < words ? begins[end] : document.size();
      return normalised(document.substr(begins[begin], to - begins[begin]), way);
    };
    const auto look = [&](std::size_t begin, int count) {
      const std::uint64_t gram = windows.hash(begin, count);
      if (!t.grams_there.test(gram)) return;
      const auto [first, last] = t.find(gram);
      for (const Tables::Entry* entry = first; entry != last; ++entry) {
        const std::uint32_t group = t.items[entry->item].group;
        Shared& with = shared[group];
        const bool new_place = with.places.insert(begins[begin]).second;
        if (new_place && with.grams.size() < kKeptGrams)
          with.grams.insert(text_of(begin, begin + count));
        Run& run = runs.try_emplace(entry->item, Run{begin, begin, 0, 0, 0}).first->second;
        if (begin > run.last + 1) run.begin = begin;
        run.last = begin;
        run.end = std::max(run.end, begin + count);
        if (run.end - run.begin > run.longest_end - run.longest_begin) {
          run.longest_begin = run.begin;
          run.longest_end = run.end;
        }
      }
    };
    for (std::size_t i = 0; i + kShortestWhole <= words; ++i) {
      if (i + kGramWords <= words) look(i, kGramWords);
      if (t.heads_there.test(windows.hash(i, kShortestWhole)))
        for (int count = kShortestWhole; count < kGramWords && i + count <= words; ++count)
          look(i, count);
    }
    for (const auto& [item, run] : runs) {
      const std::uint32_t group = t.items[item].group;
      shared[group].items.insert(item);
      // Ties are broken by name, so that the order of documents and items does not matter.
      const auto words_shared = static_cast<std::int64_t>(run.longest_end - run.longest_begin);
      const std::string& id = t.items[item].id;
      TaskFindings& task = findings[group];
      if (std::tie(words_shared, task.longest_item) >= std::tie(task.longest, id)) {
        TaskFindings longest;
        longest.longest = words_shared;
        longest.longest_item = id;
        longest.longest_text = text_of(run.longest_begin, run.longest_end);
        task.add(longest);
      }
      if (match && std::tie(words_shared, match->item) > std::tie(match->words, id))
        *match = {group, id, words_shared, text_of(run.longest_begin, run.longest_end)};
    }
  }
  for (const auto& [group, with] : shared) {
    TaskFindings& task = findings[group];
    task.hits += static_cast<std::int64_t>(with.places.size());
    ++task.documents;
    task.bytes += static_cast<std::int64_t>(document.size());
    for (const std::string& gram : with.grams)
      if (task.grams.size() < kKeptGrams || task.grams.contains(gram)) ++task.grams[gram];
    for (const std::uint32_t item : with.items) task.items.insert(t.items[item].id);
  }
  return !shared.empty();
}

const std::vector<ExclusionIndex::Group>& ExclusionIndex::groups() const { return tables_->groups; }
std::size_t ExclusionIndex::size() const { return tables_->distinct; }

std::vector<std::string> ExclusionIndex::screened_tasks() const {
  std::set<std::string> names;
  for (const Group& group : tables_->groups) {
    if (group.name.starts_with("file:")) continue;
    names.insert(group.name);
    names.insert(group.leaf_tasks.begin(), group.leaf_tasks.end());
  }
  return {names.begin(), names.end()};
}

text::TaskContents ExclusionIndex::contents() const {
  text::TaskContents contents;
  for (const auto& [task, splits] : tables_->contents)
    for (const auto& [split, items] : splits) contents[task][split] = text::content_of(items);
  return contents;
}

std::string ExclusionIndex::hash() const {
  base::Hasher hasher;
  hasher.add(
      fmt::format("ngram 1 words {} verbal {} whole {}", kGramWords, kVerbalWords, kShortestWhole));
  hasher.add(std::as_bytes(std::span(tables_->item_hashes)));
  return base::hex(hasher.value());
}

}  // namespace eyrie::data_pipeline
