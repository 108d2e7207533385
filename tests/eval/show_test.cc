#include "eval/show.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "small_task.h"

namespace eyrie::eval {
namespace {

TEST(Show, ADocumentStandsWithItsShots) {
  const test::TaskFolder folder;
  folder.write_quiz("quiz", 5, "test_split: test\nfewshot_split: pool\nsampler: first_n\nshots: 1");
  EXPECT_EQ(show_document("quiz", 1, {}, folder.places()),
            "Q: quiz question 0\nA: one\n\nQ: quiz question 1\nA:\n"
            "\n--- quiz, document 1 of test, 1 shots from pool (documents 0)\n"
            "  \" one\"\n* \" é\"\n  \" three and 1\"\n");
  EXPECT_TRUE(
      show_document("quiz", 4, 0, folder.places()).starts_with("Q: quiz question 16\nA:\n\n---"));
}

TEST(Show, WhatIsNotThereIsRefused) {
  const test::TaskFolder folder;
  folder.write_quiz("quiz", 5);
  folder.write("both.yaml", "group: both\nversion: 2\nmetrics: [acc]\ntasks: [quiz]\n");
  const auto refusal = [&](const std::string& task, std::int64_t document) {
    return test::message_of<base::InputError>(
        [&] { show_document(task, document, {}, folder.places()); });
  };
  EXPECT_EQ(refusal("quiz", 5), "task quiz: no document 5; the split test has 5, counted from 0");
  EXPECT_EQ(refusal("quiz", -1), "task quiz: no document -1; the split test has 5, counted from 0");
  EXPECT_EQ(refusal("both", 0), "both is a group; name one of its tasks: quiz");
}

TEST(Show, TheListNamesMissingFiles) {
  const test::TaskFolder folder;
  folder.write_quiz("quiz", 5);
  const std::string list = list_tasks(folder.places());
  EXPECT_NE(
      list.find("quiz\n  evaluates test, 0 shots from test, acc, acc_norm\n    test         " +
                folder.path("quiz.jsonl").string() + "\n"),
      std::string::npos)
      << list;
  EXPECT_NE(list.find("mmlu: 57 tasks: mmlu_humanities, mmlu_other, mmlu_social_sciences, "
                      "mmlu_stem\n    171 data files, 171 of them NOT THERE\n"),
            std::string::npos)
      << list;
  EXPECT_NE(list.find(folder.path("piqa/train.jsonl").string() + "   NOT THERE\n"),
            std::string::npos)
      << list;
}

}  // namespace
}  // namespace eyrie::eval
