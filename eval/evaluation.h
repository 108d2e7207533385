// An evaluation that can be stopped between two batches and goes on from there, with the answers
// kept in the folder of its results.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/file.h"
#include "eval/evaluate.h"
#include "eval/kept_answers.h"
#include "eval/task_plan.h"
#include "parallel/communicator.h"
#include "text/task_content.h"

namespace eyrie::eval {

// The ranks of an evaluation.
struct Sharing {
  parallel::Communicator& world;    // all of them
  parallel::Communicator& readers;  // among which the work is shared out
  parallel::Communicator* mates =
      nullptr;  // that do the same work together with this one; each has own readers
};

class Evaluation {
 public:
  // Opens the tasks and decides what is asked. `tokenizer` must outlive it. InputError: unknown
  // task, missing data, too few documents for the shots, limits that make no sense.
  Evaluation(const text::Tokenizer& tokenizer, const EvaluateOptions& options);

  // Of what the results will be (identity.h).
  const std::string& identity() const { return identity_; }

  // What the documents say that are evaluated or serve as shots, by leaf task and split.
  text::TaskContents contents() const;

  // Answers are kept in this folder while the work goes on (and taken from there, where they are of
  // this evaluation).
  void keep_in(const base::Path& directory) { directory_ = directory; }
  // Whether a request to stop ends it; else it is overheard.
  void set_stoppable(bool stoppable) { stoppable_ = stoppable; }

  // Collective, once. The results, the same on every rank and whatever the ranks, the batches and
  // the stops between; or nothing, where a request to stop came before the last answer: then every
  // rank has written its answers. Errors are those of all ranks together, but for what fails in the
  // middle of a pass, which is thrown by that rank alone.
  std::optional<Results> run(model::LanguageModel& model, const Sharing& sharing);

 private:
  // Tasks that are evaluated in one call of the model: those of one name in the options.
  struct Unit {
    std::string name;
    std::vector<std::string> leaves;
  };
  class Worker;
  std::vector<Work> work_of(const Unit& unit, const Answers& known,
                            std::vector<double>& costs) const;
  Results results_of(const std::vector<std::string>& bytes) const;

  const text::Tokenizer& tokenizer_;
  const EvaluateOptions options_;
  text::TaskCatalog catalog_;
  std::vector<Unit> units_;
  std::map<std::string, Plan> plans_;  // by leaf task; where they lie is known to Work
  std::string identity_;
  base::Path directory_;
  bool stoppable_ = true;
};

}  // namespace eyrie::eval
