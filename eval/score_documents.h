// One rank's share of the documents: its requests to the model, and their answers as bytes for the
// other ranks.
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "eval/answer_cache.h"
#include "eval/evaluate.h"
#include "eval/task_plan.h"
#include "model/language_model.h"
#include "text/tokenizer.h"

namespace eyrie::eval {

// One rank's share of the documents of a unit (the tasks of one name in the options). `work` must
// outlive this object.
class DocumentScorer {
 public:
  // Renders and tokenizes the documents. Requests whose answers are in `known` are not made again.
  // Throws InputError if a document cannot be turned into requests.
  DocumentScorer(std::span<const WorkItem> work, const text::Tokenizer& tokenizer,
                 std::int64_t max_length, const Answers& known);

  // The requests that had no known answer at the start.
  std::span<const model::ScoreRequest> requests() const { return requests_; }
  // Sets the answer to request number `request`, and adds it to `answers`. Throws Error if the
  // log-likelihood is not a number.
  void answer(std::size_t request, const model::Score& score, Answers& answers);
  // Appends all answers, for read_answers(). Every request must have been answered.
  void append_to(std::string& bytes) const;

 private:
  struct Place {
    std::size_t work, choice;
    std::size_t result;  // index into results_
  };
  std::span<const WorkItem> work_;
  std::vector<model::ScoreRequest> requests_;
  std::vector<Place> places_;           // of each request
  std::vector<RequestResult> results_;  // for every choice of every document, in order
};

// Copies one rank's answers into the documents of `tasks`, which must already have their final
// sizes.
void read_answers(std::string_view bytes, std::map<std::string, TaskResult>& tasks);

}  // namespace eyrie::eval
