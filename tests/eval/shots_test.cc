// The drawing of shots: how many are drawn, from what, and what is dropped.
#include "eval/shots.h"

#include <gtest/gtest.h>

#include <fmt/format.h>

#include <set>

#include "base/error.h"
#include "small_task.h"
#include "text/python_random.h"

namespace eyrie::eval {
namespace {

using Chosen = std::vector<std::vector<std::int64_t>>;

Chosen drawn(std::int64_t n, std::int64_t k, int documents) {
  text::PythonRandom random(1234);
  Chosen all;
  for (int i = 0; i < documents; ++i) all.push_back(random.sample(n, k));
  return all;
}

Chosen without_self(Chosen all, std::size_t shots) {
  for (std::size_t i = 0; i < all.size(); ++i) {
    std::erase(all[i], static_cast<std::int64_t>(i));
    all[i].resize(shots);
  }
  return all;
}

TEST(Shots, OneMoreIsDrawnWhereNeitherSplitIsSet) {  // PIQA, HellaSwag: None == None
  const test::TaskFolder folder;
  folder.write_quiz("quiz", 100, "validation_split: test");
  const Chosen chosen = choose_shots(*folder.open("quiz"), 10, 100);
  EXPECT_EQ(chosen, without_self(drawn(100, 11, 100), 10));
  // Some document was drawn for itself, else this would show nothing.
  EXPECT_NE(chosen, [] {
    Chosen all = drawn(100, 11, 100);
    for (auto& one : all) one.resize(10);
    return all;
  }());
}

TEST(Shots, OneMoreIsDrawnWhereBothSplitsAreTheSame) {
  const test::TaskFolder folder;
  folder.write_quiz("quiz", 100, "test_split: test\nfewshot_split: test");
  EXPECT_EQ(choose_shots(*folder.open("quiz"), 10, 20), without_self(drawn(100, 11, 20), 10));
}

TEST(Shots, ExactlyAsManyAreDrawnWhereTheSplitsDiffer) {  // ARC, OpenBookQA: test_split set,
                                                          // fewshot_split not
  const test::TaskFolder folder;
  folder.write_quiz("quiz", 100, "test_split: test\ntraining_split: pool");
  folder.write_pool("quiz", 100);
  const Chosen chosen = choose_shots(*folder.open("quiz"), 10, 30);
  EXPECT_EQ(chosen, drawn(100, 10, 30));
  folder.write_quiz("set", 100, "validation_split: test\nfewshot_split: pool");
  folder.write_pool("set", 100);
  EXPECT_EQ(choose_shots(*folder.open("set"), 10, 30), drawn(100, 10, 30));
}

// Whatever splits a task has, and whatever the sampler: an item is never its own shot, nor is one
// that reads the same and has the same answer, under another number or with its choices in another
// order.
TEST(Shots, NeverHoldTheItemItself) {
  const test::TaskFolder folder;
  const std::string shuffled =
      [] {  // every document twice, the second time with another field and choices swapped
        std::string lines;
        for (int copy = 0; copy < 2; ++copy) {
          for (int i = 0; i < 8; ++i) {
            const std::string right = "right " + std::to_string(i),
                              wrong = "wrong " + std::to_string(i);
            lines += fmt::format(
                "{{\"q\": \"question {}\", \"c\": [\"{}\", \"{}\"], \"a\": {}, \"n\": {}}}\n", i,
                copy == 0 ? right : wrong, copy == 0 ? wrong : right, copy, copy);
          }
        }
        return lines;
      }();
  for (const std::string roles :
       {"test_split: test", "validation_split: test", "test_split: test\nfewshot_split: test",
        "test_split: test\ntraining_split: pool", "validation_split: test\nfewshot_split: pool",
        "test_split: test\nvalidation_split: pool", "test_split: test\nsampler: first_n",
        "test_split: test\nfewshot_split: pool\nsampler: first_n"}) {
    SCOPED_TRACE(roles);
    folder.write_quiz("quiz", 16, roles);
    folder.write("quiz.jsonl", shuffled);
    const auto task = folder.open("quiz");
    const auto& pool = task->items(task->definition().shot_split());
    const auto& items = task->items("test");
    for (const int shots : {1, 3, 14}) {
      const Chosen chosen = choose_shots(*task, shots, 16);
      for (std::size_t i = 0; i < chosen.size(); ++i) {
        EXPECT_EQ(chosen[i].size(), static_cast<std::size_t>(shots));
        EXPECT_EQ(std::set<std::int64_t>(chosen[i].begin(), chosen[i].end()).size(),
                  chosen[i].size());
        for (const std::int64_t at : chosen[i])
          EXPECT_NE(pool[static_cast<std::size_t>(at)].question, items[i].question) << i;
      }
    }
    EXPECT_THROW(choose_shots(*task, 15, 16), base::InputError);
  }
}

TEST(Shots, DoNotDependOnHowManyDocumentsAreEvaluated) {
  const test::TaskFolder folder;
  folder.write_quiz("quiz", 100, "validation_split: test");
  Chosen all = choose_shots(*folder.open("quiz"), 5, 100);
  all.resize(7);
  EXPECT_EQ(choose_shots(*folder.open("quiz"), 5, 7), all);
}

TEST(Shots, FirstNAreTheSameForEveryDocument) {
  const test::TaskFolder folder;
  folder.write_quiz("quiz", 10, "test_split: test\nfewshot_split: pool\nsampler: first_n");
  folder.write_pool("quiz", 10);
  EXPECT_EQ(choose_shots(*folder.open("quiz"), 3, 2), (Chosen{{0, 1, 2}, {0, 1, 2}}));
  // The evaluated document is left out, and the next one follows.
  folder.write_quiz("same", 10, "test_split: test\nfewshot_split: test\nsampler: first_n");
  EXPECT_EQ(choose_shots(*folder.open("same"), 3, 5),
            (Chosen{{1, 2, 3}, {0, 2, 3}, {0, 1, 3}, {0, 1, 2}, {0, 1, 2}}));
  EXPECT_EQ(choose_shots(*folder.open("quiz"), 0, 2), (Chosen{{}, {}}));
}

// A pool in which every document stands five times: dropping its equals can leave too few, and then
// all are drawn again from the others, by the same generator.
TEST(Shots, AreDrawnAgainWhereEqualDocumentsLeaveTooFew) {
  const test::TaskFolder folder;
  folder.write_quiz("quiz", 4, "validation_split: test");
  std::string lines;
  for (int i = 0; i < 20; ++i) {
    lines += R"({"q": ")" + std::to_string(i % 4) + R"(", "c": ["x", "y"], "a": 0})" + "\n";
  }
  folder.write("quiz.jsonl", lines);
  const Chosen chosen = choose_shots(*folder.open("quiz"), 5, 20);

  text::PythonRandom random(1234);
  int redrawn = 0;
  for (std::int64_t i = 0; i < 20; ++i) {
    std::vector<std::int64_t> expected = random.sample(20, 6), others;
    std::erase_if(expected, [&](std::int64_t at) { return at % 4 == i % 4; });
    if (expected.size() < 5) {
      ++redrawn;
      for (std::int64_t at = 0; at < 20; ++at) {
        if (at % 4 != i % 4) others.push_back(at);
      }
      expected.clear();
      for (const std::int64_t at : random.sample(15, 5)) expected.push_back(others[at]);
    }
    expected.resize(5);
    EXPECT_EQ(chosen[i], expected) << i;
  }
  EXPECT_GT(redrawn, 0);
}

TEST(Shots, MoreThanThePoolHoldsAreRefused) {
  const test::TaskFolder folder;
  folder.write_quiz("quiz", 10, "validation_split: test");
  const auto refusal = [&](const std::string& task, int shots) {
    return test::message_of<base::InputError>([&] { choose_shots(*folder.open(task), shots, 1); });
  };
  EXPECT_EQ(choose_shots(*folder.open("quiz"), 9, 1)[0].size(), 9u);
  EXPECT_EQ(refusal("quiz", 10),
            "task quiz: 10 shots need 11 documents, but the split test has 10; ask for fewer");
  folder.write_quiz("first", 3, "test_split: test\nfewshot_split: pool\nsampler: first_n");
  EXPECT_EQ(refusal("first", 4),
            "task first: 4 shots need 4 documents, but the split pool has 3; ask for fewer");
}

// The tables of shots of the benchmarks themselves, from CPython.
TEST(Shots, OfPiqaAreThoseOfTheReference) {
  const auto piqa =
      text::open_tasks("piqa", {std::filesystem::path(EYRIE_SOURCE_DIR) / "data/eval", {}})[0];
  EXPECT_EQ(choose_shots(*piqa, 5, 2),
            (Chosen{{15834, 12749, 7220, 1914, 122}, {14925, 15442, 15388, 13221, 9539}}));
}

}  // namespace
}  // namespace eyrie::eval
