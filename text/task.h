// Evaluation tasks as data: one YAML file per task (prompt, choices, gold, shots, metrics, files;
// task_file.h), and the items rendered from its data files. Evaluation scores the items; the
// exclusion screens documents against the same items.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/file.h"
#include "text/task_file.h"

namespace eyrie::text {

// One evaluated document, rendered. All strings are UTF-8.
struct TaskItem {
  std::string task;                  // the leaf task: "piqa", "mmlu_anatomy"
  std::string split;                 // "test", "validation", "dev", "train", …
  std::int64_t index = 0;            // of the document in the split, in file order, from 0
  std::string question;              // the question's own text (PIQA's goal, HellaSwag's context)
  std::vector<std::string> choices;  // the answers' own texts ("13", not "B")
  int gold = -1;                     // index of the right choice; -1 if the split has no labels
  std::string prompt;  // doc_to_text: what the model is given, without shots and description
  std::vector<std::string> targets;  // what is scored per choice: "A", without the delimiter " "
  // Only for partial scoring (WinoGrande): each choice's own prompt. `prompt` is then the right
  // choice's, or the first if there are no labels.
  std::vector<std::string> prompts;
  std::uint64_t document_hash = 0;  // of the document in the file: equal documents, equal hashes

  const std::string& prompt_of(std::size_t choice) const {
    return prompts.empty() ? prompt : prompts[choice];
  }
};

// Returns $EYRIE_EVAL_DATA; else the first data/eval that exists in the working directory and in
// the folders above the executable; else "data/eval".
base::Path default_evaluation_data();

// Returns the path of a task's data file in `folder`: under its own name, or compressed, with .gz
// or .zst appended. Empty if there is none. Throws InputError if there is more than one, because
// they may differ.
base::Path find_data(const base::Path& folder, const std::string& file);

// Where tasks and their data are searched.
struct TaskPlaces {
  base::Path data = default_evaluation_data();  // original files of each benchmark, under its name
  std::vector<base::Path> task_directories;     // searched in order, before Eyrie's own eval/tasks
};

// A leaf task. Items are read on first use and kept. Thread-safe.
class Task {
 public:
  virtual ~Task() = default;
  virtual const std::string& name() const = 0;
  virtual const std::vector<std::string>& splits() const = 0;  // those that its YAML names
  // Throws InputError if a file is missing or damaged; names file, line and field.
  virtual const std::vector<TaskItem>& items(const std::string& split) const = 0;
  virtual const TaskDefinition& definition() const = 0;
};

// Returns the leaf tasks that `name` stands for: itself, or the members of a group such as mmlu, in
// the group's order. Throws InputError for an unknown task (names the nearest), or if a data file
// of an evaluated split or of a few-shot pool is missing (names the file and the folder searched).
std::vector<std::shared_ptr<const Task>> open_tasks(const std::string& name,
                                                    const TaskPlaces& places);
std::vector<std::shared_ptr<const Task>> open_tasks(const std::string& name,
                                                    const TaskCatalog& catalog,
                                                    const TaskPlaces& places);

// Returns every item of every split of the task or group, few-shot pools included: what the
// exclusion indexes.
std::vector<TaskItem> all_items(const std::string& name, const TaskPlaces& places);

}  // namespace eyrie::text
