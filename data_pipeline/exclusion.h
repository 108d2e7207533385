// Keeps evaluation items out of training data by the method `ngram`: a document that shares 13
// consecutive words with an item of a named task is removed.
//
// Every item of every split is indexed in four forms: its question, each of its choices, question
// and choice joined by one blank, and the item as rendered in the prompt with each target. If the
// question and the right answer (or each choice, if the split has no labels) have 6 to 12 words
// together, they match as a whole, both joined by a blank and as rendered. Items with fewer words
// than that are counted and named; they can be found only in their rendered form, if at all.
//
// Words are those of words.h, with punctuation treated in both ways; a match in one way is enough.
// A window with fewer than 4 different verbal words (a matrix of ones, a run of numbers) says
// nothing about where a text is from, so it is indexed only if its form has no better window. There
// is no exemption for frequent n-grams: it would let through an item that leaked many times.
// N-grams that are frequent because they are boilerplate show at the top of the report.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "data_pipeline/words.h"
#include "text/task.h"
#include "text/task_content.h"

namespace eyrie::data_pipeline {

constexpr int kGramWords = 13;
constexpr int kVerbalWords = 4;  // the least number of different verbal words in a window
// The least number of words of question and answer together that are matched as a whole.
constexpr int kShortestWhole = 6;

// What the screened documents share with the items of one task.
struct TaskFindings {
  std::int64_t hits = 0;       // positions in documents where an n-gram shared with the task begins
  std::int64_t documents = 0;  // documents with a hit
  std::int64_t bytes = 0;      // the bytes of those documents
  std::int64_t longest = 0;    // length in words of the longest run shared with one item
  std::string longest_item, longest_text;
  std::map<std::string, std::int64_t> grams;  // n-gram → number of documents that contain it
  std::set<std::string> items;                // ids of the matched items: "mmlu_anatomy/test/12"

  void add(const TaskFindings& other);
};

// One entry per task, in the order of ExclusionIndex::groups().
using Findings = std::vector<TaskFindings>;

class ExclusionIndex {
 public:
  struct Group {  // a task or task group as named by the user, or a file of the user's
    std::string name;
    std::vector<std::string> leaf_tasks;
    std::int64_t items = 0;
    std::vector<std::string> too_short;  // ids of items with too few words to match as a whole
  };
  // The longest match of one document.
  struct Match {
    std::size_t task = 0;  // index into groups()
    std::string item;
    std::int64_t words = 0;
    std::string text;
  };

  ExclusionIndex();  // an empty index, which matches nothing
  // `tasks` are names that text::open_tasks knows. `files` are JSONL files; the text of each line
  // is an item. Throws InputError if a task or a file cannot be read.
  ExclusionIndex(const std::vector<std::string>& tasks, const std::vector<std::string>& files,
                 const text::TaskPlaces& places);
  ~ExclusionIndex();
  ExclusionIndex(ExclusionIndex&&) noexcept;
  ExclusionIndex& operator=(ExclusionIndex&&) noexcept;

  // Adds one item; its group is made if it does not exist. Call finish() after the last item.
  void add(const std::string& group, const text::TaskItem& item);
  void finish();

  // Returns whether the document shares an n-gram with any item. If it does, adds to `findings`
  // (one entry per group) and sets `match` unless it is null. Thread-safe after finish().
  bool screen(std::string_view document, Findings& findings, Match* match = nullptr) const;
  // The same for a document whose words are known.
  bool screen(std::string_view document, const DocumentWords& words, Findings& findings,
              Match* match = nullptr) const;

  const std::vector<Group>& groups() const;
  // The names of the groups and of their leaf tasks, sorted, without duplicates.
  std::vector<std::string> screened_tasks() const;
  // Content hashes of the items of each leaf task, by split; without the user's files.
  text::TaskContents contents() const;
  std::size_t size() const;  // number of distinct n-grams
  // A hash of the method, its parameters and all items, independent of the order in which they were
  // added.
  std::string hash() const;

 private:
  struct Tables;
  std::unique_ptr<Tables> tables_;
};

// The report as JSON, with one object per task: items, too_short, hits, documents, bytes, the `top`
// n-grams by number of documents, the longest match, and the ids of the matched items.
// report_table() makes a table of it, with one line per task.
std::string report_json(const ExclusionIndex& index, const Findings& findings, int top = 10);
std::string report_table(std::string_view report);

// Findings to and from JSON, complete.
std::string to_json(const Findings& findings);
Findings findings_from_json(std::string_view json);

}  // namespace eyrie::data_pipeline
