#include "eval/score_requests.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "base/error.h"
#include "small_task.h"

namespace eyrie::eval {
namespace {

using Json = nlohmann::json;

std::string answers(const std::string& jsonl, std::int64_t max_length = 0, int ranks = 1) {
  std::string result;
  const auto tokenizer = text::open_tokenizer("bytes");
  parallel::run_in_process(ranks, [&](parallel::Communicator& communicator) {
    test::HashModel model;
    const std::string one =
        score_requests(model, *tokenizer, communicator, jsonl, "r.jsonl", max_length);
    if (communicator.rank() == 0) result = one;
  });
  return result;
}

std::vector<Json> lines_of(const std::string& text) {
  std::vector<Json> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(Json::parse(line));
  return lines;
}

TEST(ScoreRequests, TextsAndTokensMeanTheSame) {
  const auto lines = lines_of(answers(R"({"context": "ab", "continuation": " c", "id": "first"}

{"tokens": [256, 97, 98, 32, 99], "from": 3, "id": 7}
{"context": "", "continuation": "xy"}
{"tokens": [120, 121], "from": 0}
)"));
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_EQ(lines[0]["id"], "first");
  EXPECT_EQ(lines[1]["id"], 7);
  EXPECT_FALSE(lines[2].contains("id"));
  EXPECT_EQ(lines[0]["loglikelihood"], lines[1]["loglikelihood"]);
  EXPECT_EQ(lines[0]["is_greedy"], lines[1]["is_greedy"]);
  EXPECT_EQ(lines[1]["context_tokens"], 3);
  EXPECT_EQ(lines[1]["continuation_tokens"], 2);
  EXPECT_EQ(lines[2]["loglikelihood"], lines[3]["loglikelihood"]);
  EXPECT_NE(lines[0]["loglikelihood"], lines[2]["loglikelihood"]);
}

TEST(ScoreRequests, IdsArePassedOnAsTheyAreWritten) {
  for (const char* id : {"9223372036854775808", "-0.50e1", "1e400", "null", "true",
                         R"("a \u00e9 \ud83d")", R"({"a": [1, 123456789012345678901234567890]})"}) {
    const std::string line =
        answers(std::string(R"({"context": "a", "continuation": "b", "id": )") + id +
                R"(, "other": 1e999, "other": "\udc00"})");
    EXPECT_TRUE(line.starts_with(std::string("{\"id\":") + id + ",\"loglikelihood\":")) << line;
  }
}

TEST(ScoreRequests, LongOnesAreCut) {
  const auto lines = lines_of(answers(R"({"tokens": [1, 2, 3, 4, 5], "from": 3}
{"tokens": [3, 4, 5], "from": 1}
{"tokens": [2, 3, 4, 5], "from": 2})",
                                      3));
  EXPECT_EQ(lines[0]["loglikelihood"], lines[2]["loglikelihood"]);
  EXPECT_NE(lines[0]["loglikelihood"], lines[1]["loglikelihood"]);
  EXPECT_EQ(lines[0]["context_tokens"], 3);
}

TEST(ScoreRequests, AreTheSameOnAnyNumberOfRanks) {
  std::string requests;
  for (int i = 0; i < 29; ++i)
    requests +=
        R"({"context": ")" + std::string(i * i % 17, 'x') + R"(", "continuation": "y"})" + "\n";
  const std::string expected = answers(requests);
  for (const int ranks : {2, 3, 8, 40}) EXPECT_EQ(answers(requests, 0, ranks), expected);
}

TEST(ScoreRequests, WrongLinesAreNamed) {
  const auto refusal = [](const std::string& line) {
    const std::string message = test::message_of<base::InputError>(
        [&] { answers("{\"context\": \"a\", \"continuation\": \"b\"}\n" + line, 0, 2); });
    const std::size_t at = message.find("r.jsonl");
    return at == std::string::npos ? message : message.substr(at);
  };
  EXPECT_EQ(refusal(R"({"context": "a"})"),
            "r.jsonl:2: a request is {\"context\": …, \"continuation\": …} or {\"tokens\": […], "
            "\"from\": n}");
  EXPECT_EQ(refusal(R"({"tokens": [1, 300], "from": 1})"),
            "r.jsonl:2: \"tokens\": 300 is not a token of the model, which has 300");
  EXPECT_EQ(refusal(R"({"tokens": [1, "a"], "from": 1})"),
            "r.jsonl:2: \"tokens\": a text is not a token of the model, which has 300");
  EXPECT_EQ(refusal(R"({"tokens": 5, "from": 1})"),
            "r.jsonl:2: \"tokens\" is a whole number; a list of token ids is expected");
  EXPECT_EQ(
      refusal(R"({"tokens": [1, 2], "from": 2})"),
      "r.jsonl:2: \"from\" must be a whole number from 0 to 1 here: the first token to score");
  EXPECT_EQ(
      refusal(R"({"tokens": [1, 2]})"),
      "r.jsonl:2: \"from\" must be a whole number from 0 to 1 here: the first token to score");
  EXPECT_EQ(refusal(R"({"context": 1.5, "continuation": []})"),
            "r.jsonl:2: \"continuation\" is a list, where a text is needed");
  EXPECT_TRUE(refusal("{\"context\"").starts_with("r.jsonl:2:11: not JSON: "))
      << refusal("{\"context\"");
  EXPECT_EQ(refusal(R"({"context": "a", "continuation": "b", "context": "c"})"),
            "r.jsonl:2:39: the key \"context\" is there twice");
  EXPECT_EQ(refusal(R"({"context": "\ud83d", "continuation": "b"})"),
            "r.jsonl:2: \"context\" holds half of a surrogate pair, which stands for no character");
  EXPECT_EQ(refusal("[1]"), "r.jsonl:2: a request is an object, not a list");
  EXPECT_EQ(
      refusal(R"({"tokens": [1, 99999999999999999999], "from": 0})"),
      "r.jsonl:2: \"tokens\": 99999999999999999999 is not a token of the model, which has 300");
  EXPECT_NE(
      test::message_of<base::InputError>([] { answers("\n"); }).find("r.jsonl: no requests in it"),
      std::string::npos);
}

}  // namespace
}  // namespace eyrie::eval
