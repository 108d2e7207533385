// Text in, text out: generation with a tokenizer, stop texts and ends of documents, and dialogues
// whose state is kept between turns.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "model/generate.h"
#include "text/tokenizer.h"

namespace eyrie::model {

struct TextOptions {
  SamplingOptions sampling;
  std::int64_t most = 128;         // new tokens a sample
  std::int64_t slots = 8;          // sequences at once
  std::vector<std::string> stops;  // a text ends before the first of these
  bool ignore_end = false;         // goes on after the end of a document
  bool turn_markers = false;       // in prompts are control tokens; else they are text
  bool keep_text = true;           // for TextResult; else only on_text sees it, and no memory grows
};

struct TextPrompt {
  std::string text;
  std::int64_t samples = 1;
  // Given: the tokens themselves (with BOS where it is wanted); `text` is then only what they say.
  std::vector<std::int32_t> tokens = {};
  const State* from = nullptr;  // of one sequence: goes on from it
};

enum class Finish { kLength, kEnd, kStop, kInterrupted };
const char* name_of(Finish finish);  // "length", "end", "stop", "interrupted"

// One finished sample.
struct TextResult {
  std::uint64_t prompt;  // its number, from 0
  std::int64_t sample;
  std::string text;  // new text alone
  std::int64_t tokens;
  Finish finish;
  std::string stop;         // the stop text that ended it; empty: none did
  std::int32_t last_token;  // of those made, the one that the state has not read; -1: none made
  const State* state;       // valid during the call
  std::int64_t state_sequence;
};

// Generates from every prompt that next() gives. on_text: new text, whole characters, as soon as it
// is certain; may be empty. on_end: in the order in which samples finish. interrupted(): ends all.
class TextGenerator {
 public:
  // All must outlive it.
  TextGenerator(Decoder& decoder, const text::Tokenizer& tokenizer, TextOptions options);
  using NextPrompt = std::function<std::optional<TextPrompt>()>;
  using OnText = std::function<void(std::uint64_t prompt, std::int64_t sample, const std::string&)>;
  using OnEnd = std::function<void(const TextResult&)>;
  GenerationCounters run(const NextPrompt& next, const OnText& on_text, const OnEnd& on_end,
                         const std::function<bool()>& interrupted);

  // A prompt's tokens behind those before it.
  std::vector<std::int32_t> encode(const std::string& text, std::vector<std::int32_t> before) const;

 private:
  Decoder& decoder_;
  const text::Tokenizer& tokenizer_;
  TextOptions options_;
};

// A dialogue in turns: <start_of_turn>user … <end_of_turn>, <start_of_turn>model … <end_of_turn>.
// What was said is in the state: a turn reads only what is new. What the user says is text, without
// the blanks at its ends; it can neither end his turn nor begin another.
class Chat {
 public:
  Chat(Decoder& decoder, const text::Tokenizer& tokenizer, TextOptions options);
  // Whether the tokenizer has the control tokens; without them they are written out as text.
  bool has_control_tokens() const { return start_ >= 0 && end_ >= 0; }

  struct Turn {
    GenerationCounters counters;
    Finish finish;
  };
  Turn say(const std::string& user, const std::function<void(const std::string&)>& on_text,
           const std::function<bool()>& interrupted);
  void reset();  // forgets all
  const State& state() const { return state_; }

 private:
  void add_turn(const char* role, const std::string& text, bool closed,
                std::vector<std::int32_t>& tokens) const;
  std::vector<std::int32_t> close_turn(const TextResult& reply) const;
  Decoder& decoder_;
  const text::Tokenizer& tokenizer_;
  TextOptions options_;
  std::int32_t start_, end_;  // control tokens; -1: none
  State state_;
  std::vector<std::int32_t> unread_;  // said, not in the state yet
};

}  // namespace eyrie::model
