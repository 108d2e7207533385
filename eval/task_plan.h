// What is decided of a task before anything is scored, the same on every rank: its shots, its
// documents, what each of them costs.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "eval/evaluate.h"
#include "text/task.h"

namespace eyrie::eval {

// What is known of a leaf task before it is scored; the same on every rank.
struct Plan {
  std::shared_ptr<const text::Task> task;
  int shots = 0;
  std::int64_t documents = 0;
  std::vector<std::vector<std::int64_t>> chosen;
  bool one_head = true;     // all documents have the same shots, or none
  std::string shared_head;  // of all documents; empty where each has shots of its own

  const std::vector<text::TaskItem>& items() const {
    return task->items(task->definition().evaluated_split());
  }
  const std::vector<text::TaskItem>& pool() const {
    return task->items(task->definition().shot_split());
  }
  bool shares_head() const { return one_head; }
};

struct Work {
  const Plan* plan = nullptr;
  std::int64_t document = 0;
};

// InputError: a limit of a task that is not there, or numbers that make no sense.
void check_options(const EvaluateOptions& options, const text::TaskCatalog& catalog);

Plan make_plan(std::shared_ptr<const text::Task> task, const text::TaskCatalog& catalog,
               const EvaluateOptions& options);

// In bytes of text: what the model has to read for a document when the choices share its prompt,
// and the documents of a task their shots.
double cost_of(const Work& work);

}  // namespace eyrie::eval
