// The whole way from task files to scores, with models whose answers are known.
#include "eval/evaluate.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "base/error.h"
#include "eval/report.h"
#include "small_task.h"

namespace eyrie::eval {
namespace {

const text::Tokenizer& bytes() {
  static const auto tokenizer = text::open_tokenizer("bytes");
  return *tokenizer;
}

Results run(model::LanguageModel& model, const EvaluateOptions& options) {
  return evaluate(model, bytes(), *parallel::open_single(), options);
}

// Gives a text the score that a function of (context, continuation) has; both come as bytes.
class TextModel : public model::LanguageModel {
 public:
  using Rule = std::function<double(const std::string& context, const std::string& continuation)>;
  explicit TextModel(Rule rule) : rule_(std::move(rule)) {}
  std::int32_t vocabulary() const override { return 258; }
  std::vector<model::Score> score(std::span<const model::ScoreRequest> requests,
                                  const model::ScoreProgress& progress) override {
    std::vector<model::Score> scores;
    for (const auto& request : requests) {
      const std::string continuation = bytes().decode(request.continuation);
      contexts.push_back(bytes().decode(request.context));
      scores.push_back({rule_(contexts.back(), continuation), continuation == " one"});
    }
    std::vector<std::size_t> all(scores.size());
    std::iota(all.begin(), all.end(), std::size_t{0});
    if (progress) progress(all, scores);
    return scores;
  }
  std::vector<std::string> contexts;

 private:
  Rule rule_;
};

EvaluateOptions options_for(const test::TaskFolder& folder, std::vector<std::string> tasks) {
  EvaluateOptions options;
  options.tasks = std::move(tasks);
  options.places = folder.places();
  return options;
}

TEST(Evaluate, CountsRightAnswers) {
  const test::TaskFolder folder;
  folder.write_quiz("quiz", 9);
  // The right answer of every third document is "one"; all others are " é", "three and N".
  TextModel model([](const std::string&, const std::string& continuation) {
    return continuation == " one" ? -1.0 : -2.0;
  });
  const Results results = run(model, options_for(folder, {"quiz"}));
  EXPECT_DOUBLE_EQ(results.metric("quiz", "acc").value, 1.0 / 3);
  EXPECT_NEAR(*results.metric("quiz", "acc").error, std::sqrt(1.0 / 3 * 2 / 3 / 8), 1e-15);
  EXPECT_EQ(model.contexts[0], "Q: quiz question 0\nA:");
  EXPECT_EQ(results.tasks.at("quiz").documents.size(), 9u);
  EXPECT_TRUE(results.tasks.at("quiz").documents[0][0].is_greedy);
}

// Per character, "one" (3) at -3 beats "é" (1 character, 2 bytes, 2 tokens) at -1.5: by bytes it
// would be the other way round.
TEST(Evaluate, NormalisesByCodePoints) {
  const test::TaskFolder folder;
  folder.write_quiz("quiz", 1);
  folder.write("quiz.jsonl", R"({"q": "x", "c": ["one", "é"], "a": 0})");
  TextModel model([](const std::string&, const std::string& continuation) {
    return continuation == " one" ? -3.0 : -1.5;
  });
  const Results results = run(model, options_for(folder, {"quiz"}));
  EXPECT_EQ(results.metric("quiz", "acc").value, 0);
  EXPECT_EQ(results.metric("quiz", "acc_norm").value, 1);
  EXPECT_FALSE(results.metric("quiz", "acc").error.has_value());
}

TEST(Evaluate, ATieGoesToTheFirst) {
  const test::TaskFolder folder;
  folder.write_quiz("quiz", 9);
  TextModel model([](const std::string&, const std::string&) { return -4.0; });
  const Results results = run(model, options_for(folder, {"quiz"}));
  for (std::size_t i = 0; i < 9; ++i) {
    const auto& task = results.tasks.at("quiz");
    EXPECT_EQ(document_metric("acc", task.task->definition(), task.task->items("test")[i],
                              task.documents[i]),
              i % 3 == 0 ? 1 : 0);
  }
}

TEST(Evaluate, PartialScoringComparesContexts) {
  const test::TaskFolder folder;
  const std::string lines =
      R"({"sentence": "A beat B, so _ won.", "option1": "A", "option2": "B", "answer": "1"}
{"sentence": "A beat B, so _ lost.", "option1": "A", "option2": "B", "answer": "2"}
)";
  folder.write("winogrande/train_xl.jsonl", lines);
  folder.write("winogrande/validation.jsonl", lines);
  TextModel model([](const std::string& context, const std::string& continuation) {
    EXPECT_TRUE(continuation == " won." || continuation == " lost.");
    return context.ends_with("so A") == (continuation == " won.") ? -1.0 : -2.0;
  });
  const Results results = run(model, options_for(folder, {"winogrande"}));
  EXPECT_EQ(results.metric("winogrande", "acc").value, 1);
  EXPECT_EQ(model.contexts, (std::vector<std::string>{"A beat B, so A", "A beat B, so B",
                                                      "A beat B, so A", "A beat B, so B"}));
}

TEST(Evaluate, LogLikelihoodTasksCountGreedyAnswers) {
  const test::TaskFolder folder;
  std::filesystem::create_directories(folder.path("lambada"));
  folder.write("lambada/lambada_openai.jsonl", R"({"context": "a", "continuation": "one"}
{"context": "b", "continuation": "two"}
)");
  TextModel model([](const std::string&, const std::string& continuation) {
    return continuation == " one" ? -1.0 : -3.0;
  });
  const Results results = run(model, options_for(folder, {"lambada_openai"}));
  EXPECT_EQ(results.metric("lambada_openai", "acc").value, 0.5);
  EXPECT_NEAR(results.metric("lambada_openai", "perplexity").value, std::exp(2.0), 1e-12);
  EXPECT_GT(*results.metric("lambada_openai", "perplexity").error, 0);
}

TEST(Evaluate, ShotsAndLimitsAreThoseAskedFor) {
  const test::TaskFolder folder;
  folder.write_quiz("quiz", 9, "test_split: test\nfewshot_split: pool\nsampler: first_n\nshots: 1");
  folder.write_quiz("other", 9);
  folder.write_quiz("third", 9);
  folder.write("both.yaml", "group: both\nversion: 1\nmetrics: [acc]\ntasks: [quiz, other]\n");
  test::HashModel model;
  EvaluateOptions options = options_for(folder, {"both", "third"});
  options.limits = {{"both", 4}, {"other", 2}, {"", 20}};
  Results results = run(model, options);
  EXPECT_EQ(results.tasks.at("quiz").documents.size(), 4u);
  EXPECT_EQ(results.tasks.at("other").documents.size(), 2u);
  EXPECT_EQ(results.tasks.at("third").documents.size(), 9u);
  EXPECT_EQ(results.tasks.at("quiz").shots, 1);
  EXPECT_EQ(results.tasks.at("other").shots, 0);
  EXPECT_EQ(model.asked, 3 * (4 + 2 + 9));
  const auto& quiz = results.tasks.at("quiz").documents;
  EXPECT_EQ(quiz[0][0].context_tokens,
            static_cast<std::int64_t>(
                1 + std::string("Q: quiz question 1\nA: é\n\nQ: quiz question 0\nA:").size()));

  options.shots = 2;
  results = run(model, options);
  EXPECT_EQ(results.tasks.at("quiz").shots, 2);
  EXPECT_EQ(results.tasks.at("other").shots, 2);
}

// The first documents of a limited run are those of the whole run, shots and scores included.
TEST(Evaluate, ALimitOnlyCutsTheEnd) {
  const test::TaskFolder folder;
  folder.write_quiz("quiz", 30, "validation_split: test\nshots: 4");
  test::HashModel model;
  EvaluateOptions options = options_for(folder, {"quiz"});
  const Results whole = run(model, options);
  options.limits[""] = 11;
  const Results part = run(model, options);
  ASSERT_EQ(part.tasks.at("quiz").documents.size(), 11u);
  for (std::size_t i = 0; i < 11; ++i) {
    for (std::size_t choice = 0; choice < 3; ++choice) {
      const auto &a = whole.tasks.at("quiz").documents[i][choice],
                 &b = part.tasks.at("quiz").documents[i][choice];
      EXPECT_EQ(a.context_sha256, b.context_sha256);
      EXPECT_EQ(a.log_likelihood, b.log_likelihood);
    }
  }
}

TEST(Evaluate, IsTheSameOnAnyNumberOfRanks) {
  const test::TaskFolder folder;
  folder.write_quiz("drawn", 23, "validation_split: test\nshots: 3");
  folder.write_quiz("first", 10,
                    "test_split: test\nfewshot_split: pool\nsampler: first_n\nshots: 2");
  folder.write_quiz("single", 1);
  folder.write("all.yaml",
               "group: all\nversion: 3\nmetrics: [acc]\ntasks: [drawn, first, single]\n");
  const EvaluateOptions options = options_for(folder, {"all", "mmlu_stem", "first"});
  const auto own = [&] {
    EvaluateOptions with_data = options;
    with_data.tasks = {"all", "first"};
    return with_data;
  }();
  test::HashModel alone;
  const Results single = run(alone, own);
  const std::string expected =
      results_json(single) + results_table(single) + samples_jsonl(single.tasks.at("drawn"));
  for (const int ranks : {2, 3, 4, 8, 50}) {
    std::atomic<std::int64_t> asked = 0;
    parallel::run_in_process(ranks, [&](parallel::Communicator& communicator) {
      test::HashModel model;
      const Results results = evaluate(model, bytes(), communicator, own);
      EXPECT_EQ(
          results_json(results) + results_table(results) + samples_jsonl(results.tasks.at("drawn")),
          expected)
          << ranks;
      asked += model.asked;
    });
    EXPECT_EQ(asked, alone.asked) << ranks;
  }
}

TEST(Evaluate, EveryRankHasWork) {
  const test::TaskFolder folder;
  folder.write_quiz("quiz", 200, "validation_split: test\nshots: 3");
  parallel::run_in_process(4, [&](parallel::Communicator& communicator) {
    test::HashModel model;
    evaluate(model, bytes(), communicator, options_for(folder, {"quiz"}));
    EXPECT_NEAR(static_cast<double>(model.asked), 150, 15);
  });
}

TEST(Evaluate, ProgressReachesTheEnd) {
  const test::TaskFolder folder;
  folder.write_quiz("quiz", 5);
  std::vector<std::string> calls;
  EvaluateOptions options = options_for(folder, {"quiz"});
  options.progress = [&](const std::string& task, std::int64_t done, std::int64_t of) {
    calls.push_back(task + " " + std::to_string(done) + "/" + std::to_string(of));
  };
  test::HashModel model;
  run(model, options);
  ASSERT_EQ(calls.size(), 15u);
  EXPECT_EQ(calls.back(), "quiz 15/15");
}

TEST(WrongInput, IsRefusedOnEveryRank) {
  const test::TaskFolder folder;
  folder.write_quiz("quiz", 5, "test_split: test\nfewshot_split: pool");
  const auto refusal = [&](const std::function<void(EvaluateOptions&)>& change) {
    std::string message;
    EvaluateOptions options = options_for(folder, {"quiz"});
    change(options);
    parallel::run_in_process(2, [&](parallel::Communicator& communicator) {
      test::HashModel model;
      const std::string one = test::message_of<base::InputError>(
          [&] { evaluate(model, bytes(), communicator, options); });
      if (communicator.rank() == 0) message = one;
      EXPECT_EQ(model.asked, 0);
    });
    return message;
  };
  EXPECT_EQ(refusal([](auto& o) { o.tasks = {"quizz"}; }),
            "rank 0: unknown task \"quizz\"; did you mean \"quiz\"? (`eyrie eval list` lists all)");
  EXPECT_EQ(refusal([](auto& o) {
              o.limits = {{"quiz", 0}};
            }),
            "rank 0: limit 0 of quiz: at least one document a task is evaluated");
  EXPECT_EQ(refusal([](auto& o) {
              o.limits = {{"qiz", 3}};
            }),
            "rank 0: unknown task \"qiz\"; did you mean \"quiz\"? (`eyrie eval list` lists all)");
  EXPECT_EQ(refusal([](auto& o) { o.shots = 6; }),
            "rank 0: task quiz: 6 shots need 6 documents, but the split pool has 5; ask for fewer");
  EXPECT_EQ(refusal([](auto& o) { o.shots = -1; }), "rank 0: -1 shots: not negative");
  EXPECT_EQ(refusal([](auto& o) { o.max_length = 3; }),
            "rank 0: task quiz, document 0: a continuation of 4 tokens is longer than the maximal "
            "length 3; allow more");
}

TEST(Evaluate, ALogLikelihoodThatIsNotANumberIsAnError) {
  const test::TaskFolder folder;
  folder.write_quiz("quiz", 5);
  TextModel model([](const std::string& context, const std::string&) {
    return context.find("question 9") != std::string::npos
               ? std::numeric_limits<double>::quiet_NaN()
               : -1.0;
  });
  const std::string message =
      test::message_of<base::Error>([&] { run(model, options_for(folder, {"quiz"})); });
  EXPECT_NE(message.find("task quiz, document 3: the model's log-likelihood is not a number"),
            std::string::npos)
      << message;
}

}  // namespace
}  // namespace eyrie::eval
