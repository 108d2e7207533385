// Scores a model on tasks, with the numbers of lm-evaluation-harness: prompts, shots, tokens,
// metrics, standard errors.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "model/language_model.h"
#include "parallel/communicator.h"
#include "text/task.h"
#include "text/tokenizer.h"

namespace eyrie::eval {

// Of what model the results are. Equal subjects and equal options give equal results.
struct Subject {
  std::string weights;               // their fingerprint (model/weights/fingerprint.h)
  std::optional<std::int64_t> step;  // of the training
  std::string precision;             // that it computes in: "fp32", "bf16"
};

struct EvaluateOptions {
  std::vector<std::string>
      tasks;  // tasks and groups; a leaf task that is named twice is evaluated once
  text::TaskPlaces places;
  std::optional<int> shots;  // in place of each task's own number
  // Documents a leaf task, the first ones; by leaf task or group (the nearest counts), "" stands
  // for all others. Absent: all.
  std::map<std::string, std::int64_t> limits;
  std::int64_t max_length =
      0;  // tokens that the model is given at the most, cut off from the left; 0: no limit
  std::string model;  // a description, for the results
  Subject subject;
  // Called on every rank with this rank's requests of one of `tasks`. Empty: rank 0 logs every few
  // seconds.
  std::function<void(const std::string& task, std::int64_t done, std::int64_t of)> progress;
};

struct RequestResult {
  double log_likelihood = 0;  // nats
  bool is_greedy = false;
  std::int64_t context_tokens = 0, continuation_tokens = 0;  // before any cut
  std::string context_sha256;
};

struct MetricResult {
  std::string name;
  double value = 0;
  std::optional<double> error;  // the standard error; none for fewer than two documents
};

struct TaskResult {
  std::shared_ptr<const text::Task> task;
  int shots = 0;
  std::vector<std::vector<RequestResult>>
      documents;  // the first ones of the split, one request a choice
  std::vector<MetricResult> metrics;
};

struct GroupResult {
  text::TaskGroup group;
  std::vector<std::string> leaves;
  std::vector<MetricResult> metrics;
};

// A line of the table: a group with its members below it.
struct ResultLine {
  std::string name;
  int depth = 0;
};

struct Results {
  std::vector<ResultLine>
      lines;  // groups and tasks in the order of the options, members below their group
  std::map<std::string, TaskResult> tasks;
  std::map<std::string, GroupResult> groups;
  std::string model, tokenizer_hash;
  std::string identity;  // JSON: of what the results are (identity.h)
  std::map<std::string, std::int64_t> limits;
  std::int64_t max_length = 0;

  const MetricResult& metric(const std::string& task_or_group, const std::string& name) const;
};

// The value of one document. `item` tells gold and targets.
double document_metric(const std::string& metric, const text::TaskDefinition& task,
                       const text::TaskItem& item, const std::vector<RequestResult>& requests);
// The lines of the named tasks and groups, and the groups' results. The tasks' metrics must be
// there.
void add_lines(const std::vector<std::string>& names, const text::TaskCatalog& catalog,
               Results& results);

// All metrics of a task over its documents.
std::vector<MetricResult> task_metrics(const TaskResult& result);

// Collective; every rank gets the same results, whatever the number of ranks. The model of each
// rank must be the same. InputError: unknown task, missing data, too few documents for the shots.
// Error: a log-likelihood that is not a number. A request to stop is overheard: an evaluation that
// stops, and goes on later, is an Evaluation (evaluation.h).
Results evaluate(model::LanguageModel& model, const text::Tokenizer& tokenizer,
                 parallel::Communicator& communicator, const EvaluateOptions& options);

}  // namespace eyrie::eval
