// Several results in one table.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/file.h"

namespace eyrie::eval {

// The scores of one model, from one results.json or from all below a folder. Files of
// lm-evaluation-harness are read too.
struct Scores {
  std::string name;
  struct Score {
    double value = 0;
    std::optional<double> error;  // standard error
  };
  std::map<std::pair<std::string, std::string>, Score> by_task;  // (task, metric without filter)
  std::vector<std::pair<std::string, std::string>> order;        // as they were read
};

// `path`: a results.json, a folder that has one, or one that has such folders below it (as the
// tasks of an evaluation array). Throws InputError if there is none, if a file is no results file,
// or if two files have the same task.
Scores read_scores(const base::Path& path);

// A Markdown table: a line per task and metric, a column per model. A star marks what differs from
// the first column by more than 1.96 standard errors of the difference, of independent samples.
std::string compare_table(const std::vector<Scores>& models);

}  // namespace eyrie::eval
