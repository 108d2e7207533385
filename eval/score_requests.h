// Log-likelihoods of the user's own texts or tokens: what every multiple-choice task is made of.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "model/language_model.h"
#include "parallel/communicator.h"
#include "text/tokenizer.h"

namespace eyrie::eval {

// What of a file of requests can be refused without a model: InputError naming file and line.
void check_requests(std::string_view jsonl, const std::string& name);

// `jsonl`: one object a line, {"context": text, "continuation": text}, tokenised as evaluation does
// it, or {"tokens": [ids], "from": n}: the log-likelihood of tokens n and later, after those before
// (from 0: after BOS). "id" is passed on. Gives one line a request, in order, on every rank: {"id",
// "loglikelihood" (nats), "is_greedy", "context_tokens", "continuation_tokens"}. `max_length`: as
// in EvaluateOptions. `name` is the file's, for messages. Collective. InputError: file, line, and
// what is wrong with it.
std::string score_requests(model::LanguageModel& model, const text::Tokenizer& tokenizer,
                           parallel::Communicator& communicator, std::string_view jsonl,
                           const std::string& name, std::int64_t max_length);

// Whether any of these requests needs the model's own tokenizer: for a text, or for BOS in front of
// tokens that are scored from the first on. Lines that are not requests count as such.
bool needs_tokenizer(std::string_view jsonl);

}  // namespace eyrie::eval
