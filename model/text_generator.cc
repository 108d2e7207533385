// Generation of texts, and dialogues.
#include "model/text_generator.h"

#include <algorithm>
#include <map>

#include "text/python_string.h"
#include "text/utf8_stream.h"

namespace eyrie::model {
namespace {

using text::kEndOfTurn;
using text::kStartOfTurn;

// A sample on its way: its text so far.
struct Growing {
  text::Utf8Stream stream;
  std::string text = {};
  std::int64_t tokens = 0;
  std::int32_t last = -1;
  Finish finish = Finish::kLength;
};

}  // namespace

const char* name_of(Finish finish) {
  switch (finish) {
    case Finish::kLength:
      return "length";
    case Finish::kEnd:
      return "end";
    case Finish::kStop:
      return "stop";
    default:
      return "interrupted";
  }
}

TextGenerator::TextGenerator(Decoder& decoder, const text::Tokenizer& tokenizer,
                             TextOptions options)
    : decoder_(decoder), tokenizer_(tokenizer), options_(std::move(options)) {}

std::vector<std::int32_t> TextGenerator::encode(const std::string& text,
                                                std::vector<std::int32_t> before) const {
  const auto ids =
      options_.turn_markers ? text::encode_with_turns(tokenizer_, text) : tokenizer_.encode(text);
  before.insert(before.end(), ids.begin(), ids.end());
  return before;
}

GenerationCounters TextGenerator::run(const NextPrompt& next, const OnText& on_text,
                                      const OnEnd& on_end,
                                      const std::function<bool()>& interrupted) {
  const std::int32_t end_of_turn = tokenizer_.find(kEndOfTurn);
  std::map<std::pair<std::uint64_t, std::int64_t>, Growing> growing;
  std::uint64_t count = 0;
  const auto next_request = [&]() -> std::optional<GenerationRequest> {
    if (interrupted()) return std::nullopt;
    auto prompt = next();
    if (!prompt) return std::nullopt;
    GenerationRequest request;
    request.tokens =
        prompt->tokens.empty() ? encode(prompt->text, {tokenizer_.bos()}) : prompt->tokens;
    request.samples = prompt->samples;
    request.most = options_.most;
    request.number = count++;
    request.from = prompt->from;
    for (std::int64_t sample = 0; sample < prompt->samples; ++sample) {
      growing.emplace(std::pair(request.number, sample),
                      Growing{text::Utf8Stream(tokenizer_, request.tokens, options_.stops)});
    }
    return request;
  };
  const auto grow = [&](std::uint64_t number, std::int64_t sample, Growing& at,
                        const std::string& piece) {
    if (options_.keep_text) at.text += piece;
    if (on_text && !piece.empty()) on_text(number, sample, piece);
  };
  const auto take = [&](std::uint64_t number, std::int64_t sample, std::int32_t token) {
    Growing& at = growing.at({number, sample});
    at.last = token;
    ++at.tokens;
    if (!options_.ignore_end && (token == tokenizer_.eos() || token == end_of_turn)) {
      at.finish = Finish::kEnd;
      return false;
    }
    grow(number, sample, at, at.stream.add(token));
    if (at.stream.stopped()) at.finish = Finish::kStop;
    if (interrupted()) at.finish = Finish::kInterrupted;
    return at.finish == Finish::kLength;
  };
  const auto done = [&](std::uint64_t number, std::int64_t sample, bool /*whole*/,
                        const State& state, std::int64_t sequence) {
    auto found = growing.find({number, sample});
    Growing& at = found->second;
    grow(number, sample, at, at.stream.finish());
    on_end({number, sample, at.text, at.tokens, at.finish, at.stream.stop(), at.last, &state,
            sequence});
    growing.erase(found);
  };
  Generator generator(decoder_, options_.sampling, options_.slots);
  generator.run(next_request, take, done);
  return generator.counters();
}

Chat::Chat(Decoder& decoder, const text::Tokenizer& tokenizer, TextOptions options)
    : decoder_(decoder),
      tokenizer_(tokenizer),
      options_(std::move(options)),
      start_(tokenizer.find(kStartOfTurn)),
      end_(tokenizer.find(kEndOfTurn)),
      state_(decoder.empty_state(1)) {
  options_.slots = 1;
  options_.keep_text = false;
  if (!has_control_tokens()) {  // the next turn's beginning ends a reply too
    options_.stops.emplace_back(kEndOfTurn);
    options_.stops.emplace_back(kStartOfTurn);
  }
  reset();
}

void Chat::reset() {
  state_ = decoder_.empty_state(1);
  unread_ = {tokenizer_.bos()};
}

// What is said is encoded apart from what stands around it, so that no piece crosses the border.
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

// What is left to read of a reply, and the end of its turn, whatever ended it. An end of document
// is not read: the turn's end takes its place.
std::vector<std::int32_t> Chat::close_turn(const TextResult& reply) const {
  std::vector<std::int32_t> tokens;
  const std::int32_t last = reply.last_token;
  if (last >= 0 && last != end_ && last != tokenizer_.eos()) tokens.push_back(last);
  std::string rest = "\n";
  if (has_control_tokens()) {
    tokens.push_back(end_);
  } else if (reply.stop != kEndOfTurn) {  // which the model has not written out itself
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
  State after = state_.fork(0, 1);
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

}  // namespace eyrie::model
