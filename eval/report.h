// Results as lm-evaluation-harness writes and prints them.
#pragma once

#include <string>

#include "base/file.h"
#include "eval/evaluate.h"

namespace eyrie::eval {

// results.{task}.{"acc,none", "acc_stderr,none", …}, groups, group_subtasks, configs, versions,
// n-shot, higher_is_better, n-samples, config. A standard error of fewer than two documents is
// "N/A". No times: equal results give equal text.
std::string results_json(const Results& results);

// The table of tasks, and that of groups where there are any.
std::string results_table(const Results& results);

// One JSON object a document of a task: doc_id, target, the metrics, and for each request what it
// was and what came back.
std::string samples_jsonl(const TaskResult& result);

// results.json into `directory` (made where it is not there), and before it samples_TASK.jsonl for
// every leaf task. Results, samples and kept answers of anything else that lie there go.
void write_results(const Results& results, const base::Path& directory, bool samples);

}  // namespace eyrie::eval
