// Results as lm-evaluation-harness writes and prints them.
#pragma once

#include <string>

#include "base/file.h"
#include "eval/evaluate.h"

namespace eyrie::eval {

// Returns results.{task}.{"acc,none", "acc_stderr,none", …}, groups, group_subtasks, configs,
// versions, n-shot, higher_is_better, n-samples and config. A standard error over fewer than two
// documents is "N/A". There are no times in it: equal results give equal text.
std::string results_json(const Results& results);

// Returns the table of tasks, followed by that of groups if there are any.
std::string results_table(const Results& results);

// Returns one JSON object per document of a task: doc_id, target, the metrics, and each request
// with its answer.
std::string samples_jsonl(const TaskResult& result);

// Writes results.json into `directory`, which is made if it does not exist. If `samples`, first
// writes samples_TASK.jsonl for every leaf task. Removes results, samples and kept answers of other
// evaluations from the folder.
void write_results(const Results& results, const base::Path& directory, bool samples);

}  // namespace eyrie::eval
