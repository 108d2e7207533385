// One rank's share of the documents: what is asked of the model, and the answers, written down for
// the other ranks.
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "eval/evaluate.h"
#include "eval/kept_answers.h"
#include "eval/task_plan.h"
#include "model/language_model.h"
#include "text/tokenizer.h"

namespace eyrie::eval {

// The share of one rank of a unit, one of the options' tasks. The work must outlive it.
class Share {
 public:
  // Renders and encodes; what `known` answers is not asked again. InputError: what cannot be asked.
  Share(std::span<const Work> work, const text::Tokenizer& tokenizer, std::int64_t max_length,
        const Answers& known);

  // Those without an answer at the beginning.
  std::span<const model::ScoreRequest> requests() const { return requests_; }
  // The answer to request number `request`, also put into `answers`. Error: a log-likelihood that
  // is not a number.
  void answer(std::size_t request, const model::Score& score, Answers& answers);
  // All answers, for read_answers(); each request must have got one.
  void append_to(std::string& bytes) const;

 private:
  struct Place {
    std::size_t work, choice;
    std::size_t result;  // in results_
  };
  std::span<const Work> work_;
  std::vector<model::ScoreRequest> requests_;
  std::vector<Place> places_;           // of the requests
  std::vector<RequestResult> results_;  // of every choice of every document, in order
};

// Puts one rank's answers into the documents of `tasks`, which have their sizes already.
void read_answers(std::string_view bytes, std::map<std::string, TaskResult>& tasks);

}  // namespace eyrie::eval
