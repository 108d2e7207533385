// Dialogues whose state is kept between turns.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "generation/text_generator.h"

namespace eyrie::generation {

// A dialogue in turns: <start_of_turn>user … <end_of_turn>, <start_of_turn>model … <end_of_turn>.
// The state holds the dialogue so far, so a turn reads only new tokens. What the user says is plain
// text, stripped of blanks at both ends; it can neither end the user's turn nor begin another.
class Chat {
 public:
  Chat(Decoder& decoder, const text::Tokenizer& tokenizer, TextOptions options);
  // Whether the tokenizer has the control tokens; without them they are encoded as text.
  bool has_control_tokens() const { return start_ >= 0 && end_ >= 0; }

  struct Turn {
    GenerationCounters counters;
    Finish finish;
  };
  Turn say(const std::string& user, const std::function<void(const std::string&)>& on_text,
           const std::function<bool()>& interrupted);
  void reset();  // forgets the dialogue
  const model::State& state() const { return state_; }

 private:
  void add_turn(const char* role, const std::string& text, bool closed,
                std::vector<std::int32_t>& tokens) const;
  std::vector<std::int32_t> close_turn(const TextResult& reply) const;
  Decoder& decoder_;
  const text::Tokenizer& tokenizer_;
  TextOptions options_;
  std::int32_t start_, end_;  // control tokens; -1: none
  model::State state_;
  std::vector<std::int32_t> unread_;  // not read into the state yet
};

}  // namespace eyrie::generation
