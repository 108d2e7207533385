// Text in, text out: generation with a tokenizer, stop strings and end-of-document tokens.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "generation/generator.h"
#include "text/tokenizer.h"

namespace eyrie::generation {

struct TextOptions {
  SamplingOptions sampling;
  std::int64_t max_new_tokens = 128;  // new tokens per sample
  std::int64_t max_batch = 8;         // sequences at once
  std::vector<std::string> stops;     // stop strings: a text ends before the first one
  bool ignore_end = false;            // continue after an end-of-document token
  bool turn_markers = false;          // in prompts: encoded as control tokens; else as text
  bool keep_text = true;  // in TextResult; else only on_text gets it, and memory stays constant
};

struct TextPrompt {
  std::string text;
  std::int64_t samples = 1;
  // If given, the prompt's tokens (with BOS where it is wanted); `text` is then only their text.
  std::vector<std::int32_t> tokens = {};
  const model::State* from = nullptr;  // a state of one sequence to continue from
};

enum class Finish { kLength, kEnd, kStop, kInterrupted };
const char* name_of(Finish finish);  // "length", "end", "stop", "interrupted"

// One finished sample.
struct TextResult {
  std::uint64_t prompt;  // its index, from 0
  std::int64_t sample;
  std::string text;  // the new text only
  std::int64_t tokens;
  Finish finish;
  std::string stop;           // the stop string that ended it; empty: none
  std::int32_t last_token;    // the last new token, which the state has not read; -1: none
  const model::State* state;  // valid during the call
  std::int64_t state_sequence;
};

// Generates from every prompt that next() returns. on_text gets new text, in whole characters, as
// soon as it is certain; may be empty. on_end is called in the order in which samples finish. When
// interrupted() returns true, all samples end.
class TextGenerator {
 public:
  // Decoder and tokenizer must outlive it.
  TextGenerator(Decoder& decoder, const text::Tokenizer& tokenizer, TextOptions options);
  using NextPrompt = std::function<std::optional<TextPrompt>()>;
  using OnText = std::function<void(std::uint64_t prompt, std::int64_t sample, const std::string&)>;
  using OnEnd = std::function<void(const TextResult&)>;
  GenerationCounters run(const NextPrompt& next, const OnText& on_text, const OnEnd& on_end,
                         const std::function<bool()>& interrupted);

  // Returns `before` followed by the tokens of `text`.
  std::vector<std::int32_t> encode(const std::string& text, std::vector<std::int32_t> before) const;

 private:
  Decoder& decoder_;
  const text::Tokenizer& tokenizer_;
  TextOptions options_;
};

}  // namespace eyrie::generation
