// Log-likelihoods of the user's own texts or tokens, computed in the same way as for
// multiple-choice tasks.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "model/language_model.h"
#include "parallel/communication/communicator.h"
#include "text/tokenizer.h"

namespace eyrie::eval {

// Checks a file of requests as far as possible without a model. Throws InputError naming file and
// line.
void check_requests(std::string_view jsonl, const std::string& name);

// `jsonl` has one object per line: {"context": text, "continuation": text}, tokenized as in an
// evaluation, or {"tokens": [ids], "from": n}, which asks for the log-likelihood of tokens n and
// later given those before (if n is 0: given BOS). Returns one line per request, in order, on every
// rank: {"id", "loglikelihood" (nats), "is_greedy", "context_tokens", "continuation_tokens"}; "id"
// is copied from the request. `max_length` is as in EvaluateOptions. `name` is the file name, for
// messages. Collective. Throws InputError with file, line and problem.
std::string score_requests(model::LanguageModel& model, const text::Tokenizer& tokenizer,
                           parallel::Communicator& communicator, std::string_view jsonl,
                           const std::string& name, std::int64_t max_length);

// Returns whether any of these requests needs the model's own tokenizer: to tokenize a text, or for
// BOS before tokens that are scored from the first one on. Invalid lines count as needing it.
bool needs_tokenizer(std::string_view jsonl);

}  // namespace eyrie::eval
