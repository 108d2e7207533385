// Task files: the definition of a benchmark in YAML (docs/evaluation.md lists every key). A file
// defines one leaf task or a group: of tasks that are defined elsewhere, or of leaf tasks that
// differ in one word (MMLU's subjects).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/file.h"
#include "text/template.h"

namespace eyrie::text {

enum class TaskType {
  kMultipleChoice,  // the most likely of several continuations
  kLogLikelihood,   // the log-likelihood of the one right continuation
};
enum class ShotSampler {
  kRandom,  // drawn anew for every document, from one generator per task
  kFirst,   // the first of the pool, the same for every document
};

struct TaskDefinition {
  struct Split {
    std::string name;
    std::string file;      // in the data directory
    std::string labels;    // file with one integer per line, read as the field "label"; or ""
    bool labelled = true;  // false: the right choices are unknown
  };

  std::string name, alias;
  double version = 0;
  TaskType type = TaskType::kMultipleChoice;
  std::vector<Split> data;
  std::vector<std::string> columns;  // of CSV files without a header
  // "" if there is none. These decide how shots are drawn, as in lm-evaluation-harness.
  std::string training_split, validation_split, test_split, fewshot_split;
  int shots = 0;  // default number of shots
  ShotSampler sampler = ShotSampler::kRandom;
  std::string description;  // before every prompt
  std::string target_delimiter, fewshot_delimiter;
  std::vector<std::string> metrics;  // acc, acc_norm, perplexity

  std::vector<std::pair<std::string, Template>> derive;  // fields computed from fields, in order
  Template question, gold;
  std::vector<Template> prompts;      // one, or one per choice (partial scoring)
  std::vector<Template> choices;      // one that names a list, or one per choice
  std::vector<Template> targets;      // the same
  std::vector<Template> gold_labels;  // empty: gold is an index from 0

  const std::string& evaluated_split() const {
    return test_split.empty() ? validation_split : test_split;
  }
  const std::string& shot_split() const;              // the pool that shots are drawn from
  const Split& split(const std::string& name) const;  // InputError if it does not exist
};

struct TaskGroup {
  std::string name, alias;
  double version = 0;
  std::vector<std::string> members;  // groups and leaf tasks, in file order
  std::vector<std::string> metrics;  // averaged over the documents of all its leaf tasks
};

// All tasks and groups, by name.
struct TaskCatalog {
  std::map<std::string, TaskDefinition> tasks;
  std::map<std::string, TaskGroup> groups;

  std::vector<std::string> names() const;
  // Returns the leaf tasks that a name stands for, in file order, each once. Throws InputError for
  // an unknown name (names the nearest).
  std::vector<std::string> leaves(const std::string& name) const;
};

// Returns the folder of Eyrie's own tasks: $EYRIE_TASKS; else the first that exists of eval/tasks
// and share/eyrie/tasks in the working directory and in the folders above the executable. Throws
// InputError if there is none.
base::Path own_task_directory();

// Reads all *.yaml of the folders, then of Eyrie's own. The first definition of a name is used.
// Throws InputError with file, line and key.
TaskCatalog read_tasks(const std::vector<base::Path>& directories);

}  // namespace eyrie::text
