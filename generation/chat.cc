// The turns of a dialogue as tokens.
#include "generation/chat.h"

#include <optional>

#include "text/python_string.h"

namespace eyrie::generation {

using text::kEndOfTurn;
using text::kStartOfTurn;

Chat::Chat(Decoder& decoder, const text::Tokenizer& tokenizer, TextOptions options)
    : decoder_(decoder),
      tokenizer_(tokenizer),
      options_(std::move(options)),
      start_(tokenizer.find(kStartOfTurn)),
      end_(tokenizer.find(kEndOfTurn)),
      state_(decoder.empty_state(1)) {
  options_.max_batch = 1;
  options_.keep_text = false;
  if (!has_control_tokens()) {  // the start of the next turn ends a reply too
    options_.stops.emplace_back(kEndOfTurn);
    options_.stops.emplace_back(kStartOfTurn);
  }
  reset();
}

void Chat::reset() {
  state_ = decoder_.empty_state(1);
  unread_ = {tokenizer_.bos()};
}

// Text is encoded separately from the markers around it, so that no token crosses the boundary.
void Chat::add_turn(const char* role, const std::string& text, bool closed,
                    std::vector<std::int32_t>& tokens) const {
  const auto add = [&](std::string_view part) {
    const auto ids = tokenizer_.encode(part);
    tokens.insert(tokens.end(), ids.begin(), ids.end());
  };
  const std::string head = std::string(role) + "\n";
  if (!has_control_tokens()) {
    add(kStartOfTurn + head + text + (closed ? std::string(kEndOfTurn) + "\n" : ""));
    return;
  }
  tokens.push_back(start_);
  add(head);
  if (!closed) return;
  add(text);
  tokens.push_back(end_);
  add("\n");
}

// Returns the tokens of a reply that are not read yet and the end of its turn, whatever ended it.
// An end-of-document token is not read: the end of the turn replaces it.
std::vector<std::int32_t> Chat::close_turn(const TextResult& reply) const {
  std::vector<std::int32_t> tokens;
  const std::int32_t last = reply.last_token;
  if (last >= 0 && last != end_ && last != tokenizer_.eos()) tokens.push_back(last);
  std::string rest = "\n";
  if (has_control_tokens()) {
    tokens.push_back(end_);
  } else if (reply.stop != kEndOfTurn) {  // if the model has not written it out itself
    rest = std::string(kEndOfTurn) + rest;
  }
  const auto ids = tokenizer_.encode(rest);
  tokens.insert(tokens.end(), ids.begin(), ids.end());
  return tokens;
}

Chat::Turn Chat::say(const std::string& user,
                     const std::function<void(const std::string&)>& on_text,
                     const std::function<bool()>& interrupted) {
  std::vector<std::int32_t> tokens = unread_;
  add_turn("user", std::string(text::strip(user)), true, tokens);
  add_turn("model", "", false, tokens);
  TextGenerator generator(decoder_, tokenizer_, options_);
  Turn turn{};
  bool asked = false;
  model::State after = state_.fork(0, 1);
  turn.counters = generator.run(
      [&]() -> std::optional<TextPrompt> {
        if (asked) return std::nullopt;
        asked = true;
        return TextPrompt{user, 1, tokens, &state_};
      },
      [&](std::uint64_t, std::int64_t, const std::string& piece) { on_text(piece); },
      [&](const TextResult& result) {
        turn.finish = result.finish;
        after = result.state->fork(result.state_sequence, 1);
        unread_ = close_turn(result);
      },
      interrupted);
  state_ = std::move(after);
  return turn;
}

}  // namespace eyrie::generation
