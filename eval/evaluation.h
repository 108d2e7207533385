// An evaluation that can be stopped between two batches and resumes from there. Its answers are
// kept in the folder of its results.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/file.h"
#include "eval/answer_cache.h"
#include "eval/evaluate.h"
#include "eval/task_plan.h"
#include "parallel/communication/communicator.h"
#include "text/task_content.h"

namespace eyrie::eval {

// The communicators of an evaluation.
struct EvaluationRanks {
  parallel::Communicator& world;  // all ranks of the evaluation
  parallel::Communicator& group;  // the ranks among which the work is divided
  // The tensor-parallel ranks that do the same work together; each of them has a `group` of its
  // own. May be null.
  parallel::Communicator* tensor = nullptr;
};

class Evaluation {
 public:
  // Opens the tasks and decides which documents and shots are used. `tokenizer` must outlive this
  // object. Throws InputError at an unknown task, missing data, too few documents for the shots, or
  // invalid limits.
  Evaluation(const text::Tokenizer& tokenizer, const EvaluateOptions& options);

  // What the results will belong to (identity.h).
  const std::string& identity() const { return identity_; }

  // Content hashes of the documents that are evaluated or serve as shots, by leaf task and split.
  text::TaskContents contents() const;

  // Answers are kept in this folder during the evaluation, and answers that it already holds are
  // reused if they belong to this evaluation.
  void keep_in(const base::Path& directory) { directory_ = directory; }
  // Whether a request to stop ends the evaluation (the default); otherwise it is ignored.
  void set_stoppable(bool stoppable) { stoppable_ = stoppable; }

  // Collective; call it once. Returns the results, which are the same on every rank and do not
  // depend on the number of ranks, the batches or earlier stops. Returns nothing if a request to
  // stop came before the last answer; by then every rank has written its answers. An error on one
  // rank is thrown on all ranks, except that an error in the middle of a forward pass is thrown
  // only on the rank where it happened.
  std::optional<Results> run(model::LanguageModel& model, const EvaluationRanks& ranks);

 private:
  // The leaf tasks of one name in the options; they are evaluated in one call of the model.
  struct Unit {
    std::string name;
    std::vector<std::string> leaves;
  };
  class Worker;
  std::vector<WorkItem> work_of(const Unit& unit, const Answers& known,
                                std::vector<double>& costs) const;
  Results results_of(const std::vector<std::string>& bytes) const;

  const text::Tokenizer& tokenizer_;
  const EvaluateOptions options_;
  text::TaskCatalog catalog_;
  std::vector<Unit> units_;
  // By leaf task. WorkItem keeps pointers to the values.
  std::map<std::string, TaskPlan> plans_;
  std::string identity_;
  base::Path directory_;
  bool stoppable_ = true;
};

}  // namespace eyrie::eval
