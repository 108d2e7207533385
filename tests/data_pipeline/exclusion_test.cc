#include "data_pipeline/exclusion.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "data_pipeline/screen.h"
#include "support/scratch_folder.h"

namespace eyrie::data_pipeline {
namespace {

text::TaskItem item_of(const std::string& question, std::vector<std::string> choices, int gold,
                       std::int64_t index = 0) {
  text::TaskItem item;
  item.task = "quiz";
  item.split = "test";
  item.index = index;
  item.question = question;
  item.choices = std::move(choices);
  item.gold = gold;
  item.prompt = "Question: " + question + "\nAnswer:";
  item.targets = item.choices;
  return item;
}

const std::string kQuestion =
    "When the old lighthouse keeper climbed the stairs for the last time, what did he carry in his "
    "left hand?";

ExclusionIndex index_of(const std::vector<text::TaskItem>& items) {
  ExclusionIndex index;
  for (const text::TaskItem& item : items) index.add("quiz", item);
  index.finish();
  return index;
}

bool found(const ExclusionIndex& index, const std::string& document) {
  Findings findings;
  return index.screen(document, findings);
}

TEST(Exclusion, FindsEveryForm) {
  const ExclusionIndex index = index_of(
      {item_of(kQuestion,
               {"a lamp that his father had made from the brass of a wrecked ship long ago",
                "nothing at all, as usual"},
               1)});
  EXPECT_TRUE(found(index, kQuestion));
  EXPECT_TRUE(found(
      index,
      "They found a lamp that his father had made from the brass of a wrecked ship long ago."));
  EXPECT_TRUE(found(index, kQuestion + " nothing at all, as usual"));
  EXPECT_TRUE(found(index, "Question: " + kQuestion + "\nAnswer: nothing at all"));
  // The end of the question with its answer, as joined and as rendered.
  EXPECT_TRUE(found(index, "what did he carry in his left hand? nothing at all, as usual"));
  EXPECT_TRUE(found(index, "did he carry in his left hand?\nAnswer: nothing at all, as usual"));
  // 12 words in a row are not enough.
  EXPECT_FALSE(
      found(index, "the old lighthouse keeper climbed the stairs for the last time, what!"));
  EXPECT_TRUE(
      found(index, "the old lighthouse keeper climbed the stairs for the last time, what did!"));
  EXPECT_FALSE(found(index, ""));
  EXPECT_FALSE(
      found(index, "An innocent document about a lighthouse, and what the keeper carried there."));
}

TEST(Exclusion, CasePunctuationAndWhiteSpaceDoNotHide) {
  const ExclusionIndex index =
      index_of({item_of("Don't the well-known twenty-one ship's captains sail on, year by year, "
                        "across 1,000 miles of "
                        "open sea, in fair weather?",
                        {"yes", "no"}, 0)});
  for (const char* document : {
           "DON'T THE WELL-KNOWN TWENTY-ONE SHIP'S CAPTAINS SAIL ON YEAR BY YEAR ACROSS 1,000 "
           "MILES OF OPEN SEA",
           "dont the wellknown twentyone ships captains sail on year by year across 1000 miles of "
           "open sea",
           "dont the well known twenty one ships captains sail on year by year across 1 000 miles "
           "of open sea",
           "Don’t   the\twell-known\ntwenty–one ship’s captains;sail;on,year,by,year,across 1,000 "
           "miles of open sea",
           "*Don't* the 'well-known' (twenty-one) ship's - captains - sail... on: "
           "year/by/year/across 1,000 miles of open",
       })
    EXPECT_TRUE(found(index, document)) << document;
}

TEST(Exclusion, InTheMiddleOfALongDocument) {
  const ExclusionIndex index = index_of({item_of(kQuestion, {"a lamp", "nothing"}, 0)});
  std::string filler;
  for (int i = 0; i < 20000; ++i) filler += "filler" + std::to_string(i * 7919 % 1000) + " ";
  EXPECT_FALSE(found(index, filler));
  EXPECT_TRUE(found(index, filler + kQuestion + " " + filler));
}

TEST(Exclusion, ShortItemsMatchAsAWhole) {
  const ExclusionIndex index = index_of({
      item_of("how do you indent something?", {"press the spacebar", "leave a blank"}, 0,
              0),                                                   // 8 words with its answer
      item_of("best jam?", {"plum jam here", "x"}, 0, 1),           // 5: too short
      item_of("ice cream on sticks?", {"yes it is", "no"}, -1, 2),  // no label: every choice
  });
  EXPECT_TRUE(found(index, "He asked: how do you indent something? Press the spacebar!"));
  EXPECT_TRUE(found(index, "Question: How do you indent something?\nAnswer: press the spacebar."));
  EXPECT_FALSE(found(index, "how do you indent something? Leave a blank"));  // the wrong answer
  EXPECT_FALSE(found(index, "how do you indent something on the spacebar"));
  EXPECT_FALSE(found(index, "how do you indent something"));
  EXPECT_FALSE(found(index, "best jam? plum jam here"));
  EXPECT_TRUE(found(index, "ice cream on sticks yes it is"));
  EXPECT_EQ(index.groups()[0].items, 3);
  EXPECT_EQ(index.groups()[0].too_short, std::vector<std::string>{"quiz/test/1"});
}

TEST(Exclusion, WindowsThatSayNothingRemoveNothing) {
  const std::string ones = "begin matrix 1 1 1 1 1 1 1 1 1 1 1 1 1 end matrix";
  const ExclusionIndex index = index_of({
      item_of("What is the rank of the following square matrix with real entries in it: " + ones,
              {"1", "2"}, 0),
  });
  EXPECT_FALSE(found(index, "Another text: " + ones));
  EXPECT_TRUE(
      found(index, "is the rank of the following square matrix with real entries in it: " + ones));
  // An item that has nothing else is still found.
  EXPECT_TRUE(found(index_of({item_of("1 2 3 4 5 6 7 8 9 10 11 12 13 14 15", {"16", "0"}, 0)}),
                    "count: 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15"));
}

TEST(Exclusion, ReportsWhatItFound) {
  const ExclusionIndex index = index_of({item_of(kQuestion, {"a lamp", "nothing"}, 0, 4)});
  Findings findings;
  ExclusionIndex::Match match;
  const std::string document = "It begins. " + kQuestion + " It ends.";
  EXPECT_TRUE(index.screen(document, findings, &match));
  EXPECT_TRUE(index.screen(
      "the old lighthouse keeper climbed the stairs for the last time, what did you say",
      findings));
  EXPECT_FALSE(index.screen("nothing of the kind", findings));
  ASSERT_EQ(findings.size(), 1u);
  EXPECT_EQ(match.item, "quiz/test/4");
  EXPECT_EQ(match.words, 20);
  EXPECT_THAT(match.text, testing::StartsWith("when the old lighthouse keeper"));
  EXPECT_THAT(match.text, testing::EndsWith("in his left hand"));
  EXPECT_EQ(findings[0].documents, 2);
  EXPECT_EQ(findings[0].hits, 8 + 1);
  EXPECT_EQ(findings[0].longest, 20);
  EXPECT_EQ(findings[0].items, std::set<std::string>{"quiz/test/4"});
  const auto report = nlohmann::json::parse(report_json(index, findings, 1));
  EXPECT_EQ(report["quiz"]["documents"], 2);
  EXPECT_EQ(report["quiz"]["top_ngrams"][0]["documents"], 2);
  EXPECT_EQ(report["quiz"]["top_ngrams"][0]["ngram"],
            "the old lighthouse keeper climbed the stairs for the last time what did");
  EXPECT_THAT(report_table(report_json(index, findings)),
              testing::ContainsRegex("quiz +1 +0 +1 +2 "));
  const Findings back = findings_from_json(to_json(findings));
  EXPECT_EQ(to_json(back), to_json(findings));

  // Adding up does not depend on the order.
  Findings one(1), other(1);
  index.screen(document, one);
  index.screen("left hand. " + kQuestion, other);
  TaskFindings ab = one[0], ba = other[0];
  ab.add(other[0]);
  ba.add(one[0]);
  EXPECT_EQ(to_json({ab}), to_json({ba}));
}

TEST(Exclusion, HashFollowsTheItemsNotTheirOrder) {
  const auto a = item_of(kQuestion, {"a lamp", "nothing"}, 0, 0),
             b = item_of("something else", {"x", "y"}, 1, 1);
  auto c = b;
  c.choices[0] = "z";
  EXPECT_EQ(index_of({a, b}).hash(), index_of({b, a}).hash());
  EXPECT_NE(index_of({a, b}).hash(), index_of({a, c}).hash());
  EXPECT_NE(index_of({a, b}).hash(), index_of({a}).hash());
  EXPECT_EQ(index_of({a}).screened_tasks(), std::vector<std::string>{"quiz"});
}

TEST(Exclusion, FilesOfTheUsers) {
  test::ScratchFolder folder;
  base::write_file(
      folder / "secret.jsonl",
      R"({"text": ")" + kQuestion + "\"}\n{\"text\": \"six words are enough for this\"}\n");
  const ExclusionIndex index({}, {(folder / "secret.jsonl").string()}, {});
  EXPECT_TRUE(found(index, kQuestion));
  EXPECT_TRUE(found(index, "Six words are enough for this."));
  EXPECT_TRUE(index.screened_tasks().empty());
  base::write_file(folder / "bad.jsonl", "{\"body\": 1}\n");
  EXPECT_THAT(test::message_of<base::InputError>(
                  [&] { ExclusionIndex({}, {(folder / "bad.jsonl").string()}, {}); }),
              testing::HasSubstr("bad.jsonl:1: no field \"text\""));
}

TEST(Screen, NamesDocumentsOnAnyNumberOfRanks) {
  test::ScratchFolder folder;
  std::string lines;
  for (int i = 1; i <= 300; ++i)
    lines += i % 100 == 0 ? "{\"text\": \"" + kQuestion + "\"}\n"
                          : "{\"text\": \"fine " + std::to_string(i) + "\"}\n";
  base::write_file(folder / "a.jsonl", lines);
  const ExclusionIndex index = index_of({item_of(kQuestion, {"a lamp", "nothing"}, 0)});
  std::string expected;
  for (const int ranks : {1, 2, 3})
    parallel::run_in_process(ranks, [&](parallel::Communicator& world) {
      const ScreenResult result = screen_files({folder / "a.jsonl"}, "text", index, world);
      EXPECT_EQ(result.documents, 300);
      ASSERT_EQ(result.hits.size(), 3u);
      EXPECT_EQ(result.hits[1].line, 200);
      EXPECT_EQ(result.hits[1].match.item, "quiz/test/0");
      if (world.rank() != 0) return;
      if (expected.empty()) expected = to_json(result, index);
      EXPECT_EQ(to_json(result, index), expected);
    });
  const auto json = nlohmann::json::parse(expected);
  EXPECT_EQ(json["contaminated"], 3);
  EXPECT_EQ(json["hits"][0]["task"], "quiz");
}

}  // namespace
}  // namespace eyrie::data_pipeline
