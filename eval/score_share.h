// One rank's share of the documents: scored, and written down for the other ranks.
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>

#include "eval/evaluate.h"
#include "eval/task_plan.h"
#include "model/language_model.h"
#include "text/tokenizer.h"

namespace eyrie::eval {

// Scores this rank's share of `unit`, one of the options' tasks, and appends the answers to
// `bytes`. Error: a log-likelihood that is not a number.
void score_share(const std::string& unit, std::span<const Work> share, model::LanguageModel& model,
                 const text::Tokenizer& tokenizer, const EvaluateOptions& options,
                 std::string& bytes);

// Puts one rank's answers into the documents of `tasks`, which have their sizes already.
void read_answers(std::string_view bytes, std::map<std::string, TaskResult>& tasks);

}  // namespace eyrie::eval
