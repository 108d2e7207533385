// Task files: what a benchmark is, in YAML (docs/evaluation.md lists every key). A file defines one
// leaf task, or a group: of tasks that are defined elsewhere, or of leaf tasks that differ in one
// word (MMLU's subjects).
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
  kRandom,  // drawn anew for every document, from one generator a task
  kFirst,   // the first of the pool, the same for every document
};

struct TaskDefinition {
  struct Split {
    std::string name;
    std::string file;  // in the data directory
    std::string
        labels;  // a file with one whole number a line, which becomes the field "label"; "" none
    bool labelled = true;  // false: the right choices are not known
  };

  std::string name, alias;
  double version = 0;
  TaskType type = TaskType::kMultipleChoice;
  std::vector<Split> data;
  std::vector<std::string> columns;  // of CSV files without a header
  // "" where there is none. These decide how shots are drawn, as in lm-evaluation-harness.
  std::string training_split, validation_split, test_split, fewshot_split;
  int shots = 0;  // by default
  ShotSampler sampler = ShotSampler::kRandom;
  std::string description;  // in front of every prompt
  std::string target_delimiter, fewshot_delimiter;
  std::vector<std::string> metrics;  // acc, acc_norm, perplexity

  std::vector<std::pair<std::string, Template>> derive;  // fields made from fields, in order
  Template question, gold;
  std::vector<Template> prompts;      // one, or one a choice (partial scoring)
  std::vector<Template> choices;      // one that names a list, or one a choice
  std::vector<Template> targets;      // the same
  std::vector<Template> gold_labels;  // empty: gold is a number from 0

  const std::string& evaluated_split() const {
    return test_split.empty() ? validation_split : test_split;
  }
  const std::string& shot_split() const;              // the pool that shots are drawn from
  const Split& split(const std::string& name) const;  // InputError: no such split
};

struct TaskGroup {
  std::string name, alias;
  double version = 0;
  std::vector<std::string> members;  // groups and leaf tasks, in file order
  std::vector<std::string> metrics;  // averaged over the documents of all leaf tasks below
};

// Every task that can be named.
struct TaskCatalog {
  std::map<std::string, TaskDefinition> tasks;
  std::map<std::string, TaskGroup> groups;

  std::vector<std::string> names() const;
  // Leaf tasks that a name stands for, in file order, each once. InputError: unknown (names the
  // nearest).
  std::vector<std::string> leaves(const std::string& name) const;
};

// Eyrie's own eval/tasks: $EYRIE_TASKS; else the first that is there of eval/tasks and
// share/eyrie/tasks, in the working directory and in the folders above the executable. InputError:
// none of them.
base::Path own_task_directory();

// All *.yaml of the folders, then of Eyrie's own; the first definition of a name holds. InputError:
// file, line, key.
TaskCatalog read_tasks(const std::vector<base::Path>& directories);

}  // namespace eyrie::text
