// Generation of texts.
#include "generation/text_generator.h"

#include <algorithm>
#include <map>

#include "text/streaming_detokenizer.h"

namespace eyrie::generation {
namespace {

using text::kEndOfTurn;

// A sample in progress: its text so far.
struct Growing {
  text::StreamingDetokenizer stream;
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
    request.max_new_tokens = options_.max_new_tokens;
    request.number = count++;
    request.from = prompt->from;
    for (std::int64_t sample = 0; sample < prompt->samples; ++sample) {
      growing.emplace(
          std::pair(request.number, sample),
          Growing{text::StreamingDetokenizer(tokenizer_, request.tokens, options_.stops)});
    }
    return request;
  };
  const auto grow = [&](std::uint64_t number, std::int64_t sample, Growing& at,
                        const std::string& piece) {
    if (options_.keep_text) at.text += piece;
    if (on_text && !piece.empty()) on_text(number, sample, piece);
  };
  const auto on_token = [&](std::uint64_t number, std::int64_t sample, std::int32_t token) {
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
  const auto on_finish = [&](std::uint64_t number, std::int64_t sample, bool /*whole*/,
                             const model::State& state, std::int64_t sequence) {
    auto found = growing.find({number, sample});
    Growing& at = found->second;
    grow(number, sample, at, at.stream.finish());
    on_end({number, sample, at.text, at.tokens, at.finish, at.stream.stop(), at.last, &state,
            sequence});
    growing.erase(found);
  };
  Generator generator(decoder_, options_.sampling, options_.max_batch);
  generator.run(next_request, on_token, on_finish);
  return generator.counters();
}

}  // namespace eyrie::generation
