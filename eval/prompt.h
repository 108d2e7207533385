// From a document to what the model is asked: the prompt with its shots, and its tokens.
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

// Description and shots: all that stands in front of the document's own prompt.
std::string prompt_head(const text::TaskDefinition& task, const std::vector<text::TaskItem>& pool,
                        std::span<const std::int64_t> shots);

// What is scored for a choice: its target behind the delimiter (" A").
std::string continuation(const text::TaskDefinition& task, const text::TaskItem& item,
                         std::size_t choice);

struct EncodedRequest {
  model::ScoreRequest request;                               // cut to the maximal length
  std::int64_t context_tokens = 0, continuation_tokens = 0;  // before that; BOS counted
};

// Sets the token counts, then cuts the context from the left so that the model is given at most
// `max_length` tokens (0: no limit; the last token is only predicted). InputError: the continuation
// alone is longer.
void cut_to_length(EncodedRequest& encoded, std::int64_t max_length);

// Tokens of (context, continuation) pairs as lm-evaluation-harness splits them: white space at the
// end of the context goes to the continuation; the continuation's tokens are those of the whole
// text behind as many as the context alone has, BOS in front of both. (That program leaves BOS out
// where the text begins with its name, which its tokenizers read as the token; here it is text.) An
// empty context is BOS alone. Not thread-safe: keeps the last context's tokens.
class RequestEncoder {
 public:
  // `max_length`: tokens that the model is given at the most, cut off from the left; 0: no limit.
  RequestEncoder(const text::Tokenizer& tokenizer, std::int64_t max_length);
  // InputError: a continuation without tokens of its own, or longer than max_length.
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
