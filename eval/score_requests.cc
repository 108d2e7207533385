// Reads requests from JSONL and divides them among the ranks by line length.
#include "eval/score_requests.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "base/error.h"
#include "base/file_kind.h"
#include "base/json_text.h"
#include "eval/partition_by_cost.h"
#include "eval/prompt.h"
#include "text/python_string.h"
#include "text/value.h"

namespace eyrie::eval {
namespace {

struct Line {
  std::string place;
  std::string_view text;
};

// Used while the model is not yet open.
constexpr std::int32_t kAnyVocabulary = std::numeric_limits<std::int32_t>::max();

std::vector<std::int32_t> read_tokens(const text::Value& list, std::int32_t vocabulary) {
  std::vector<std::int32_t> tokens;
  if (const auto* values = list.get<text::Value::List>()) {
    for (const text::Value& value : *values) {
      const auto* id = value.get<std::int64_t>();
      if (id == nullptr || *id < 0 || *id >= vocabulary) {
        throw base::InputError(fmt::format(
            "\"tokens\": {} is not a token of {}",
            value.get<text::Value::Number>() != nullptr || id != nullptr
                ? value.as_text("\"tokens\"")
                : value.kind(),
            vocabulary == kAnyVocabulary ? "any model"
                                         : fmt::format("the model, which has {}", vocabulary)));
      }
      tokens.push_back(static_cast<std::int32_t>(*id));
    }
    return tokens;
  }
  throw base::InputError(
      fmt::format("\"tokens\" is {}; a list of token ids is expected", list.kind()));
}

EncodedRequest read_token_request(const base::JsonText& object, const base::JsonText& list,
                                  std::int32_t vocabulary, std::int32_t bos,
                                  std::int64_t max_length) {
  EncodedRequest result;
  std::vector<std::int32_t> tokens = read_tokens(text::value_of(list), vocabulary);
  const auto from = object.find("from");
  const text::Value first = from ? text::value_of(*from) : text::Value{};
  const auto* start = first.get<std::int64_t>();
  if (start == nullptr || *start < 0 || *start >= static_cast<std::int64_t>(tokens.size())) {
    throw base::InputError(
        fmt::format("\"from\" must be a whole number from 0 to {} here: the first token to score",
                    static_cast<std::int64_t>(tokens.size()) - 1));
  }
  const auto border = tokens.begin() + *start;
  result.request.context.assign(tokens.begin(), border);
  result.request.continuation.assign(border, tokens.end());
  if (*start == 0) result.request.context = {bos};
  cut_to_length(result, max_length);
  return result;
}

// Returns the lines that are not blank.
std::vector<Line> lines_of(std::string_view jsonl, const std::string& name) {
  const std::string other = base::not_json_lines(jsonl.substr(0, 600));
  if (!other.empty()) throw base::InputError(fmt::format("{}: {}", name, other));
  if (jsonl.starts_with(base::kByteOrderMark)) jsonl.remove_prefix(base::kByteOrderMark.size());
  std::vector<Line> lines;
  for (std::int64_t number = 1; !jsonl.empty(); ++number) {
    const std::size_t end = jsonl.find('\n');
    const std::string_view line = jsonl.substr(0, end);
    if (!text::strip(line).empty()) lines.push_back({fmt::format("{}:{}", name, number), line});
    jsonl.remove_prefix(end == std::string_view::npos ? jsonl.size() : end + 1);
  }
  if (lines.empty()) throw base::InputError(name + ": no requests in it");
  return lines;
}

// A value in a request's object, if present.
using Part = std::optional<base::JsonText>;

// Calls `body` with the request's context and continuation, or with its tokens; the others are
// empty. Throws InputError naming the line, also for errors that `body` throws.
template <class Body>
void with_request(const Line& line, Body&& body) {
  try {
    const base::JsonText object = base::JsonText::parse(line.text);
    if (object.kind() != base::JsonText::Kind::kObject)
      throw base::InputError(fmt::format("a request is an object, not {}", object.kind_name()));
    const Part tokens = object.find("tokens"), context = object.find("context"),
               continuation = object.find("continuation");
    if (!tokens && (!context || !continuation)) {
      throw base::InputError(
          "a request is {\"context\": …, \"continuation\": …} or {\"tokens\": […], \"from\": "
          "n}");
    }
    body(object, tokens, context, continuation);
  } catch (const base::JsonError& error) {
    throw base::InputError(fmt::format("{}:{}: {}", line.place, error.at() + 1, error.what()));
  } catch (const base::InputError& error) {
    throw base::InputError(fmt::format("{}: {}", line.place, error.what()));
  }
}

}  // namespace

bool needs_tokenizer(std::string_view jsonl) {
  for (const Line& line : lines_of(jsonl, "")) {
    bool needs = true;
    try {
      with_request(line,
                   [&](const base::JsonText& object, const Part& tokens, const Part&, const Part&) {
                     const Part from = object.find("from");
                     const text::Value value = from ? text::value_of(*from) : text::Value{};
                     const auto* first = value.get<std::int64_t>();
                     needs = !tokens || first == nullptr || *first < 1;
                   });
    } catch (const base::InputError&) {  // reported when the requests are scored
    }
    if (needs) return true;
  }
  return false;
}

void check_requests(std::string_view jsonl, const std::string& name) {
  for (const Line& line : lines_of(jsonl, name)) {
    with_request(line, [](const base::JsonText& object, const Part& tokens, const Part& context,
                          const Part& continuation) {
      if (tokens) {
        read_token_request(object, *tokens, kAnyVocabulary, 0, 0);
      } else {
        text::value_of(*context).as_text("\"context\"");
        text::value_of(*continuation).as_text("\"continuation\"");
      }
      object.find("id");
    });
  }
}

std::string score_requests(model::LanguageModel& model, const text::Tokenizer& tokenizer,
                           parallel::Communicator& communicator, std::string_view jsonl,
                           const std::string& name, std::int64_t max_length) {
  std::string answers;
  parallel::agree(communicator, [&] {
    const std::vector<Line> lines = lines_of(jsonl, name);
    std::vector<double> costs;
    for (const Line& line : lines) costs.push_back(static_cast<double>(line.text.size()));
    const auto [first, last] = partition_by_cost(costs, communicator.rank(), communicator.size());
    RequestEncoder encoder(tokenizer, max_length);
    std::vector<model::ScoreRequest> requests;
    std::vector<nlohmann::ordered_json> outputs;
    std::vector<std::string> ids;  // as written in the requests: "\"id\":7,"
    for (std::size_t i = first; i < last; ++i) {
      with_request(lines[i], [&](const base::JsonText& object, const Part& tokens,
                                 const Part& context, const Part& continuation) {
        EncodedRequest encoded =
            tokens ? read_token_request(object, *tokens, model.vocabulary(), tokenizer.bos(),
                                        max_length)
                   : encoder.encode(text::value_of(*context).as_text("\"context\""),
                                    text::value_of(*continuation).as_text("\"continuation\""));
        const Part id = object.find("id");
        ids.push_back(id ? fmt::format("\"id\":{},", id->raw()) : "");
        nlohmann::ordered_json output;
        output["loglikelihood"] = 0.0;
        output["is_greedy"] = false;
        output["context_tokens"] = encoded.context_tokens;
        output["continuation_tokens"] = encoded.continuation_tokens;
        outputs.push_back(std::move(output));
        requests.push_back(std::move(encoded.request));
      });
    }
    if (requests.empty()) return;
    const std::vector<model::Score> scores = model.score(requests, {});
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      if (!std::isfinite(scores[i].log_likelihood)) {
        throw base::Error(
            fmt::format("{}: the model's log-likelihood is not a number; its weights are damaged "
                        "or its training diverged",
                        lines[first + i].place));
      }
      outputs[i]["loglikelihood"] = scores[i].log_likelihood;
      outputs[i]["is_greedy"] = scores[i].is_greedy;
      answers += "{" + ids[i] + outputs[i].dump().substr(1) + "\n";
    }
  });
  std::string all;
  for (const std::string& part : communicator.all_gather(answers)) all += part;
  return all;
}

}  // namespace eyrie::eval
