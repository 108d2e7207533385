// Turns a document into model requests: the prompt with its shots, and the tokens.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "model/language_model.h"
#include "text/task.h"
#include "text/tokenizer.h"

namespace eyrie::eval {

// Returns the description and the shots: everything that precedes the document's own prompt.
std::string prompt_head(const text::TaskDefinition& task, const std::vector<text::TaskItem>& pool,
                        std::span<const std::int64_t> shots);

// Returns what is scored for a choice: its target after the delimiter (" A").
std::string continuation(const text::TaskDefinition& task, const text::TaskItem& item,
                         std::size_t choice);

struct EncodedRequest {
  model::ScoreRequest request;                               // truncated to the maximum length
  std::int64_t context_tokens = 0, continuation_tokens = 0;  // before truncation; with BOS
};

// Sets the token counts, then truncates the context from the left so that the model is given at
// most `max_length` tokens (0: no limit; the last token is only predicted and does not count).
// Throws InputError if the continuation alone is longer.
void cut_to_length(EncodedRequest& encoded, std::int64_t max_length);

// Tokenizes (context, continuation) pairs as lm-evaluation-harness does. White space at the end of
// the context is moved to the continuation. The whole text is tokenized, with BOS in front, and the
// continuation gets the tokens after as many as the context alone has. An empty context is BOS
// alone. (lm-evaluation-harness omits BOS if the text begins with its name, which its tokenizers
// read as the token; here that is ordinary text.) Not thread-safe: caches the tokens of the last
// context.
class RequestEncoder {
 public:
  // `max_length`: at most this many tokens are given to the model; longer contexts are truncated
  // from the left. 0: no limit.
  RequestEncoder(const text::Tokenizer& tokenizer, std::int64_t max_length);
  // Throws InputError if the continuation has no tokens of its own or is longer than max_length.
  EncodedRequest encode(std::string_view context, std::string_view continuation);

 private:
  std::vector<std::int32_t> with_bos(std::string_view text) const;

  const text::Tokenizer& tokenizer_;
  std::int64_t max_length_;
  std::string last_context_;
  std::vector<std::int32_t> last_ids_;
  bool has_last_ = false;
};

}  // namespace eyrie::eval
