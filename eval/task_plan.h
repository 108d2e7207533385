// What is decided about a task before anything is scored: its shots, its documents, and their
// costs. The same on every rank.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "eval/evaluate.h"
#include "text/task.h"

namespace eyrie::eval {

// The plan of one leaf task. The same on every rank.
struct TaskPlan {
  std::shared_ptr<const text::Task> task;
  int shots = 0;
  std::int64_t documents = 0;
  std::vector<std::vector<std::int64_t>> chosen;
  // Whether all documents have the same shots (or none).
  bool same_shots = true;
  // The prompt head of all documents; empty if they have different shots.
  std::string shared_head;

  const std::vector<text::TaskItem>& items() const {
    return task->items(task->definition().evaluated_split());
  }
  const std::vector<text::TaskItem>& pool() const {
    return task->items(task->definition().shot_split());
  }
  bool shares_head() const { return same_shots; }
};

struct WorkItem {
  const TaskPlan* plan = nullptr;
  std::int64_t document = 0;
};

// Throws InputError at a limit for an unknown task, or at invalid numbers.
void check_options(const EvaluateOptions& options, const text::TaskCatalog& catalog);

TaskPlan make_task_plan(std::shared_ptr<const text::Task> task, const text::TaskCatalog& catalog,
                        const EvaluateOptions& options);

// Returns how many bytes of text the model reads for this document, given that its choices share
// the prompt and the documents of a task may share their shots.
double cost_of(const WorkItem& work);

}  // namespace eyrie::eval
