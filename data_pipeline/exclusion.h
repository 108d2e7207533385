// Keeping evaluation items out of training data, first mode (`ngram`): a document that shares 13
// consecutive words with an item of a named task is removed.
//
// Every item of every split is indexed in four forms: its question, each of its choices, question
// and choice joined by one blank, and the item as rendered in the prompt with each target. Question
// and right answer (every choice, where the split has no labels) of 6 to 12 words together match as
// a whole, joined by a blank and as rendered. Items whose question and answer have fewer words are
// counted and named: they can be found as rendered only, if at all.
//
// Words are those of words.h, in both ways of treating punctuation; one way is enough for a match.
// A window with fewer than 4 different verbal words (a matrix of ones, a run of numbers) says
// nothing about where a text is from: it is indexed only where its form has no better one. There is
// no rule for frequent n-grams: such a rule would let through an item that leaked many times.
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
#include "text/task.h"
#include "text/task_content.h"

namespace eyrie::data_pipeline {

constexpr int kGramWords = 13;
constexpr int kVerbalWords = 4;    // different verbal words that a window needs
constexpr int kShortestWhole = 6;  // words of question and answer that still match, as a whole

// What was found for one task, in any number of documents.
struct TaskFindings {
  std::int64_t hits = 0;       // places where a document shares an n-gram with the task
  std::int64_t documents = 0;  // documents with a hit
  std::int64_t bytes = 0;      // of their text
  std::int64_t longest = 0;    // words of the longest run shared with one item
  std::string longest_item, longest_text;
  std::map<std::string, std::int64_t> grams;  // n-gram → documents that hold it
  std::set<std::string> items;                // ids of the items found: "mmlu_anatomy/test/12"

  void add(const TaskFindings& other);
};

// By task, in the index's order.
using Findings = std::vector<TaskFindings>;

class ExclusionIndex {
 public:
  struct Group {  // a task as it was named, or a file of the user's
    std::string name;
    std::vector<std::string> leaf_tasks;
    std::int64_t items = 0;
    std::vector<std::string> too_short;  // ids
  };
  // The longest match of one document.
  struct Match {
    std::size_t task = 0;  // of groups()
    std::string item;
    std::int64_t words = 0;
    std::string text;
  };

  ExclusionIndex();  // holds nothing, finds nothing
  // `tasks`: as text::open_tasks knows them; `files`: JSONL, each text an item. InputError as
  // theirs.
  ExclusionIndex(const std::vector<std::string>& tasks, const std::vector<std::string>& files,
                 const text::TaskPlaces& places);
  ~ExclusionIndex();
  ExclusionIndex(ExclusionIndex&&) noexcept;
  ExclusionIndex& operator=(ExclusionIndex&&) noexcept;

  // An item by hand; groups are made as they come. finish() must follow the last.
  void add(const std::string& group, const text::TaskItem& item);
  void finish();

  // Whether the document shares anything with an item; if so `findings` (one a group) grow and
  // `match`, where given, is set. Thread-safe after finish().
  bool screen(std::string_view document, Findings& findings, Match* match = nullptr) const;

  const std::vector<Group>& groups() const;
  std::vector<std::string> screened_tasks()
      const;  // groups and their leaf tasks, sorted, each once
  // What the items of each leaf task say, by split; not of the user's files.
  text::TaskContents contents() const;
  std::size_t size() const;  // distinct n-grams
  // Over method, parameters and every item, in whatever order they came.
  std::string hash() const;

 private:
  struct Tables;
  std::unique_ptr<Tables> tables_;
};

// The report as JSON, an object by task: items, too_short, hits, documents, bytes, the `top`
// n-grams by the number of documents, the longest match, the ids of the items found. And as a table
// of one line a task.
std::string report_json(const ExclusionIndex& index, const Findings& findings, int top = 10);
std::string report_table(std::string_view report);

// Everything in `findings` as JSON, and back.
std::string to_json(const Findings& findings);
Findings findings_from_json(std::string_view json);

}  // namespace eyrie::data_pipeline
