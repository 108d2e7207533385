// Prompts and the split of their tokens.
#include "eval/prompt.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "small_task.h"

namespace eyrie::eval {
namespace {

using Ids = std::vector<std::int32_t>;

const text::Tokenizer& pieces() {
  static const auto tokenizer =
      text::open_tokenizer(EYRIE_SOURCE_DIR "/tests/fixtures/eval/tokenizer.model");
  return *tokenizer;
}
const text::Tokenizer& bytes() {
  static const auto tokenizer = text::open_tokenizer("bytes");
  return *tokenizer;
}

EncodedRequest encode(std::string_view context, std::string_view continuation,
                      std::int64_t max_length = 0, const text::Tokenizer& tokenizer = bytes()) {
  return RequestEncoder(tokenizer, max_length).encode(context, continuation);
}

constexpr std::int32_t kBos = 256;

TEST(Encode, BosStandsInFrontOfBothTexts) {
  const EncodedRequest one = encode("ab", " c");
  EXPECT_EQ(one.request.context, (Ids{kBos, 'a', 'b'}));
  EXPECT_EQ(one.request.continuation, (Ids{' ', 'c'}));
  EXPECT_EQ(one.context_tokens, 3);
  EXPECT_EQ(one.continuation_tokens, 2);
}

// The name of BOS in a text is text: the token stands in front of it all the same.
TEST(Encode, BosStandsInFrontOfItsName) {
  EXPECT_EQ(encode("<s>a", "b").request.context, (Ids{kBos, '<', 's', '>', 'a'}));
  EXPECT_EQ(encode("<s>a", "b").request.continuation, (Ids{'b'}));
  const std::string bos = pieces().piece(pieces().bos());
  const auto one = encode(bos + "struck", " again", 0, pieces()).request;
  Ids expected = pieces().encode(bos + "struck");
  expected.insert(expected.begin(), pieces().bos());
  EXPECT_EQ(one.context, expected);
  EXPECT_EQ(std::count(one.context.begin(), one.context.end(), pieces().bos()), 1);
}

TEST(Encode, WhiteSpaceAtTheEndOfTheContextIsScored) {
  const EncodedRequest one = encode("a \n", "b");
  EXPECT_EQ(one.request.context, (Ids{kBos, 'a'}));
  EXPECT_EQ(one.request.continuation, (Ids{' ', '\n', 'b'}));
  const EncodedRequest unicode = encode("a\u00a0", "b");
  EXPECT_EQ(unicode.request.context, (Ids{kBos, 'a'}));
  EXPECT_EQ(unicode.request.continuation, (Ids{0xC2, 0xA0, 'b'}));
  const EncodedRequest blank = encode("  ", "b");
  EXPECT_EQ(blank.request.context, (Ids{kBos}));
  EXPECT_EQ(blank.request.continuation, (Ids{' ', ' ', 'b'}));
}

TEST(Encode, AnEmptyContextIsBosAlone) {
  EXPECT_EQ(encode("", "bc").request.context, (Ids{kBos}));
  EXPECT_EQ(encode("", "bc").request.continuation, (Ids{'b', 'c'}));
}

// "Answer" and "s" alone are two pieces, together one: the split goes by count, so what is scored
// begins behind as many pieces as the context alone has.
TEST(Encode, TheSplitGoesByCount) {
  const auto ids = [](std::string_view text) { return pieces().encode(text); };
  const Ids context = ids("the Ans"), whole = ids("the Answering machine");
  ASSERT_NE(Ids(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(context.size())),
            context);
  const EncodedRequest one = encode("the Ans", "wering machine", 0, pieces());
  Ids expected = {1};
  expected.insert(expected.end(), context.begin(), context.end());
  EXPECT_EQ(one.request.context, expected);
  EXPECT_EQ(one.request.continuation,
            Ids(whole.begin() + static_cast<std::ptrdiff_t>(context.size()), whole.end()));
}

TEST(Encode, WhatMergesIntoTheContextIsRefused) {
  // "th" + "e" is the piece "the": nothing is left to score.
  ASSERT_EQ(pieces().encode("th").size(), pieces().encode("the").size());
  EXPECT_EQ(test::message_of<base::InputError>([] { encode("th", "e", 0, pieces()); }),
            "\"e\" has no tokens of its own behind \"th\": there is nothing to score");
  EXPECT_EQ(test::message_of<base::InputError>([] { encode("th", ""); }),
            "\"\" has no tokens of its own behind \"th\": there is nothing to score");
}

TEST(Encode, LongContextsAreCutFromTheLeft) {
  const std::string context = "0123456789";
  // The model reads context and continuation without its last token: 11 + 2 - 1 = 12 tokens.
  EXPECT_EQ(encode(context, "ab", 12).request.context.size(), 11u);
  const EncodedRequest cut = encode(context, "ab", 11);  // BOS goes first
  EXPECT_EQ(cut.request.context, (Ids{'0', '1', '2', '3', '4', '5', '6', '7', '8', '9'}));
  EXPECT_EQ(cut.request.continuation, (Ids{'a', 'b'}));
  EXPECT_EQ(cut.context_tokens, 11);  // as it was
  EXPECT_EQ(encode(context, "ab", 2).request.context, (Ids{'9'}));
  EXPECT_EQ(encode(context, "ab", 2).request.continuation, (Ids{'a', 'b'}));
  EXPECT_EQ(test::message_of<base::InputError>([&] { encode(context, "abc", 2); }),
            "a continuation of 3 tokens is longer than the maximal length 2; allow more");
}

// The encoder keeps the last context's tokens; a change of context must be seen.
TEST(Encode, AnEncoderServesManyContexts) {
  RequestEncoder encoder(bytes(), 0);
  encoder.encode("ab", "c");
  EXPECT_EQ(encoder.encode("ab", "d").request.context, (Ids{kBos, 'a', 'b'}));
  EXPECT_EQ(encoder.encode("ax", "d").request.context, (Ids{kBos, 'a', 'x'}));
  EXPECT_EQ(encoder.encode("", "d").request.context, (Ids{kBos}));
  EXPECT_EQ(encoder.encode("ax ", "d").request.continuation, (Ids{' ', 'd'}));
}

TEST(Prompt, ShotsStandBetweenDescriptionAndQuestion) {
  const test::TaskFolder folder;
  folder.write_quiz("quiz", 5, "test_split: test\ndescription: \"About.\\n\\n\"");
  const auto task = folder.open("quiz");
  const auto& items = task->items("test");
  const std::vector<std::int64_t> shots = {2, 1};
  EXPECT_EQ(prompt_head(task->definition(), items, shots),
            "About.\n\nQ: quiz question 4\nA: three and 2\n\nQ: quiz question 1\nA: é\n\n");
  EXPECT_EQ(prompt_head(task->definition(), items, {}), "About.\n\n");
  EXPECT_EQ(continuation(task->definition(), items[0], 1), " é");
}

// TriviaQA's questions end in a question mark, and upstream puts another behind them: templates put
// in what is there.
TEST(Prompt, NothingIsTakenAwayFromTheTexts) {
  const test::TaskFolder folder;
  folder.write_quiz("quiz", 1);
  folder.write("quiz.jsonl", R"({"q": " Who? ", "c": [" x ", "y"], "a": 0})");
  folder.write("quiz.yaml", R"(
task: quiz
version: 1
data: {test: {file: quiz.jsonl}}
test_split: test
question: "{q}"
prompt: "Question: {q|strip}?\nAnswer:"
choices: "{c}"
gold: "{a}"
metrics: [acc]
)");
  const auto task = folder.open("quiz");
  EXPECT_EQ(task->items("test")[0].prompt, "Question: Who??\nAnswer:");
  EXPECT_EQ(continuation(task->definition(), task->items("test")[0], 0), "  x ");
}

TEST(Prompt, AShotOfPartialScoringIsTheRightSentence) {
  const test::TaskFolder folder;
  const std::string line =
      R"({"sentence": "Sam beat Tom, so _ was glad. ", "option1": "Sam", "option2": "Tom", "answer": "1"})";
  folder.write("winogrande/train_xl.jsonl", line);
  folder.write("winogrande/validation.jsonl", line);
  const auto task = folder.open("winogrande");
  const std::vector<std::int64_t> shots = {0};
  EXPECT_EQ(prompt_head(task->definition(), task->items("train"), shots),
            "Sam beat Tom, so Sam was glad.\n\n");
}

TEST(Prompt, AnExampleWithoutALabelIsRefused) {
  const test::TaskFolder folder;
  folder.write_quiz("quiz", 2);
  const auto task = folder.open("quiz");
  auto items = task->items("test");
  items[1].gold = -1;
  const std::vector<std::int64_t> shots = {0, 1};
  EXPECT_EQ(
      test::message_of<base::InputError>([&] { prompt_head(task->definition(), items, shots); }),
      "task quiz: document 1 of the split test is to be an example but has no label");
}

}  // namespace
}  // namespace eyrie::eval
