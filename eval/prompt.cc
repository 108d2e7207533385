// Assembles prompts and splits their tokens.
#include "eval/prompt.h"

#include <fmt/format.h>

#include "base/error.h"
#include "text/python_string.h"

namespace eyrie::eval {

std::string prompt_head(const text::TaskDefinition& task, const std::vector<text::TaskItem>& pool,
                        std::span<const std::int64_t> shots) {
  std::string head = task.description;
  for (const std::int64_t at : shots) {
    const text::TaskItem& shot = pool[static_cast<std::size_t>(at)];
    if (shot.gold < 0) {
      throw base::InputError(
          fmt::format("task {}: document {} of the split {} is to be an example but has no label",
                      task.name, at, shot.split));
    }
    const auto gold = static_cast<std::size_t>(shot.gold);
    head += shot.prompt_of(gold);
    head += continuation(task, shot, gold);
    head += task.fewshot_delimiter;
  }
  return head;
}

std::string continuation(const text::TaskDefinition& task, const text::TaskItem& item,
                         std::size_t choice) {
  return task.target_delimiter + item.targets[choice];
}

void cut_to_length(EncodedRequest& encoded, std::int64_t max_length) {
  std::vector<std::int32_t>& context = encoded.request.context;
  encoded.context_tokens = static_cast<std::int64_t>(context.size());
  encoded.continuation_tokens = static_cast<std::int64_t>(encoded.request.continuation.size());
  if (max_length == 0) return;
  if (encoded.continuation_tokens > max_length) {
    throw base::InputError(
        fmt::format("a continuation of {} tokens is longer than the maximal length {}; allow more",
                    encoded.continuation_tokens, max_length));
  }
  const std::int64_t surplus =
      encoded.context_tokens + encoded.continuation_tokens - (max_length + 1);
  if (surplus > 0) context.erase(context.begin(), context.begin() + surplus);
}

RequestEncoder::RequestEncoder(const text::Tokenizer& tokenizer, std::int64_t max_length)
    : tokenizer_(tokenizer), max_length_(max_length) {}

std::vector<std::int32_t> RequestEncoder::with_bos(std::string_view text) const {
  std::vector<std::int32_t> ids = tokenizer_.encode(text);
  ids.insert(ids.begin(), tokenizer_.bos());
  return ids;
}

EncodedRequest RequestEncoder::encode(std::string_view context, std::string_view continuation) {
  EncodedRequest result;
  std::vector<std::int32_t>& before = result.request.context;
  std::vector<std::int32_t>& after = result.request.continuation;
  if (context.empty()) {
    before = {tokenizer_.bos()};
    after = tokenizer_.encode(continuation);
  } else {
    const std::string_view stripped = text::rstrip(context);
    if (!has_last_ || last_context_ != stripped) {
      last_context_ = stripped;
      last_ids_ = with_bos(stripped);
      has_last_ = true;
    }
    before = last_ids_;
    std::vector<std::int32_t> whole = with_bos(std::string(context) + std::string(continuation));
    const std::size_t split = std::min(before.size(), whole.size());
    after.assign(whole.begin() + static_cast<std::ptrdiff_t>(split), whole.end());
  }
  if (after.empty()) {
    throw base::InputError(fmt::format(
        "\"{}\" has no tokens of its own behind \"{}\": there is nothing to score", continuation,
        context.size() > 60 ? "…" + std::string(context.substr(context.size() - 60))
                            : std::string(context)));
  }
  cut_to_length(result, max_length_);
  return result;
}

}  // namespace eyrie::eval
