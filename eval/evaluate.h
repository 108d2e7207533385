// Scores a model on tasks. Prompts, shots, tokens, metrics and standard errors equal those of
// lm-evaluation-harness.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "model/language_model.h"
#include "parallel/communication/communicator.h"
#include "text/task.h"
#include "text/tokenizer.h"

namespace eyrie::eval {

// Which model the results belong to. Equal subjects and equal options give equal results.
struct Subject {
  std::string weights;               // fingerprint of the weights (model/weights/fingerprint.h)
  std::optional<std::int64_t> step;  // training step
  // The compute dtype: "fp32" or "bf16".
  std::string precision;
};

struct EvaluateOptions {
  // Tasks and groups. A leaf task that is named twice is evaluated once.
  std::vector<std::string> tasks;
  text::TaskPlaces places;
  std::optional<int> shots;  // overrides the number of shots of each task
  // The number of documents per leaf task (the first ones are taken), by leaf task or group; the
  // nearest entry applies. "" stands for all other tasks. Without an entry, all documents are
  // evaluated.
  std::map<std::string, std::int64_t> limits;
  // At most this many tokens are given to the model; longer contexts are truncated from the left.
  // 0: no limit.
  std::int64_t max_length = 0;
  std::string model;  // a description, which is copied into the results
  Subject subject;
  // Called on every rank with the progress of this rank's requests in one of `tasks`. If empty,
  // rank 0 logs progress every few seconds.
  std::function<void(const std::string& task, std::int64_t done, std::int64_t of)> progress;
};

struct RequestResult {
  double log_likelihood = 0;  // nats
  bool is_greedy = false;
  std::int64_t context_tokens = 0, continuation_tokens = 0;  // before truncation
  std::string context_sha256;
};

struct MetricResult {
  std::string name;
  double value = 0;
  std::optional<double> error;  // standard error; none for fewer than two documents
};

struct TaskResult {
  std::shared_ptr<const text::Task> task;
  int shots = 0;
  // The first documents of the split, with one request per choice.
  std::vector<std::vector<RequestResult>> documents;
  std::vector<MetricResult> metrics;
};

struct GroupResult {
  text::TaskGroup group;
  std::vector<std::string> leaves;
  std::vector<MetricResult> metrics;
};

// A line of the table. The members of a group are listed below it.
struct ResultLine {
  std::string name;
  int depth = 0;
};

struct Results {
  // Groups and tasks in the order of the options, with members below their group.
  std::vector<ResultLine> lines;
  std::map<std::string, TaskResult> tasks;
  std::map<std::string, GroupResult> groups;
  std::string model, tokenizer_hash;
  std::string identity;  // JSON: what the results belong to (identity.h)
  std::map<std::string, std::int64_t> limits;
  std::int64_t max_length = 0;

  const MetricResult& metric(const std::string& task_or_group, const std::string& name) const;
};

// Returns the value of a metric for one document. `item` gives the gold index and the targets.
double document_metric(const std::string& metric, const text::TaskDefinition& task,
                       const text::TaskItem& item, const std::vector<RequestResult>& requests);
// Adds the lines of the named tasks and groups and the results of the groups. The metrics of the
// tasks must already be in `results`.
void add_lines(const std::vector<std::string>& names, const text::TaskCatalog& catalog,
               Results& results);

// Returns all metrics of a task over its documents.
std::vector<MetricResult> task_metrics(const TaskResult& result);

// Collective. Every rank gets the same results, whatever the number of ranks. The model must be the
// same on every rank. Throws InputError at an unknown task, missing data or too few documents for
// the shots, and Error if a log-likelihood is not a number. Requests to stop are ignored; use
// Evaluation (evaluation.h) for an evaluation that can stop and resume.
Results evaluate(model::LanguageModel& model, const text::Tokenizer& tokenizer,
                 parallel::Communicator& communicator, const EvaluateOptions& options);

}  // namespace eyrie::eval
