// Stopping, dying and going on; identities; what may lie in the folder of results.
#include "eval/evaluation.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "eval/identity.h"
#include "eval/report.h"
#include "parallel/health/stop.h"
#include "small_task.h"

namespace eyrie::eval {
namespace {

namespace fs = std::filesystem;

const text::Tokenizer& bytes() {
  static const auto tokenizer = text::open_tokenizer("bytes");
  return *tokenizer;
}

// Something happens after so many answers of all ranks together.
class EventfulModel : public model::LanguageModel {
 public:
  using Event = std::function<void(std::int64_t answered)>;
  EventfulModel(std::atomic<std::int64_t>& answered, Event event, std::int64_t bad = -1)
      : answered_(answered), event_(std::move(event)), bad_(bad) {}
  std::int32_t vocabulary() const override { return 300; }
  std::vector<model::Score> score(std::span<const model::ScoreRequest> requests,
                                  const model::ScoreProgress& progress) override {
    return model_.score(
        requests, [&](std::span<const std::size_t> numbers, std::span<const model::Score> scores) {
          const std::int64_t count = ++answered_;
          event_(count);
          const model::Score nothing{std::nan(""), false};
          return progress(numbers, count == bad_ ? std::span(&nothing, 1) : scores);
        });
  }

 private:
  test::HashModel model_;
  std::atomic<std::int64_t>& answered_;
  Event event_;
  std::int64_t bad_;
};

struct Folder {
  Folder() {
    tasks.write_quiz("drawn", 23, "validation_split: test\nshots: 3");
    tasks.write_quiz("plain", 17);
    tasks.write("both.yaml", "group: both\nversion: 1\nmetrics: [acc]\ntasks: [drawn, plain]\n");
    tasks.write_quiz("last", 11);
    options.tasks = {"both", "last"};
    options.places = tasks.places();
    options.subject = {"0123", 5, "fp32"};
  }
  fs::path out() const { return tasks.path("out"); }
  std::string expected() const {
    test::HashModel model;
    const Results results = evaluate(model, bytes(), *parallel::open_single(), options);
    return text_of(results);
  }
  static std::string text_of(const Results& results) {
    std::string text = results_json(results);
    for (const auto& [name, task] : results.tasks) text += samples_jsonl(task);
    return text;
  }
  static constexpr std::int64_t kRequests = 3 * (23 + 17 + 11);

  // The results' text, "" where a stop ended it.
  std::string run(int ranks, std::atomic<std::int64_t>& answered, const EventfulModel::Event& event,
                  std::int64_t bad = -1) const {
    std::string text;
    parallel::run_in_process(ranks, [&](parallel::Communicator& world) {
      EventfulModel model(answered, event, bad);
      Evaluation evaluation(bytes(), options);
      evaluation.keep_in(out());
      const auto results = evaluation.run(model, {world, world});
      if (world.rank() == 0 && results) text = text_of(*results);
    });
    return text;
  }
  test::TaskFolder tasks;
  EvaluateOptions options;
};

TEST(Evaluation, StopsAndGoesOnOnAnyNumberOfRanks) {
  const Folder folder;
  const std::string expected = folder.expected();
  for (const std::vector<int>& starts :
       std::vector<std::vector<int>>{{1, 1}, {1, 3, 2}, {4, 1}, {2, 5, 3, 1}}) {
    fs::remove_all(folder.out());
    std::atomic<std::int64_t> answered = 0;
    std::string text;
    for (std::size_t start = 0; start < starts.size(); ++start) {
      ASSERT_EQ(text, "") << "it ended before it was stopped";
      parallel::clear_stop();
      const std::int64_t stop_at =
          static_cast<std::int64_t>(start + 1 < starts.size() ? 30 * (start + 1) : 1000);
      text = folder.run(starts[start], answered, [&](std::int64_t all) {
        if (all == stop_at) parallel::request_stop(SIGUSR1);
      });
      // Every rank ends with the batch that it is in.
      if (stop_at < 1000) {
        EXPECT_LE(answered, stop_at + starts[start]);
      }
    }
    parallel::clear_stop();
    EXPECT_EQ(text, expected);
    EXPECT_EQ(answered, Folder::kRequests) << "something was asked twice";
  }
}

TEST(Evaluation, AStopAfterTheLastAnswerIsTooLate) {
  const Folder folder;
  std::atomic<std::int64_t> answered = 0;
  const std::string text = folder.run(1, answered, [](std::int64_t all) {
    if (all == Folder::kRequests) parallel::request_stop(SIGTERM);
  });
  parallel::clear_stop();
  EXPECT_EQ(text, folder.expected());
}

TEST(Evaluation, GoesOnAfterADeath) {
  const Folder folder;
  std::atomic<std::int64_t> answered = 0;
  EXPECT_THROW(folder.run(1, answered,
                          [](std::int64_t all) {
                            if (all == 40) throw std::runtime_error("killed");
                          }),
               std::runtime_error);
  // The answers of the first batch are kept at once, those that follow after a while.
  EXPECT_TRUE(fs::exists(folder.out() / "unfinished/answers-00000.jsonl"));
  answered = 0;
  EXPECT_EQ(folder.run(3, answered, [](std::int64_t) {}), folder.expected());
  EXPECT_LT(answered, Folder::kRequests);
}

TEST(Evaluation, TakesNoAnswersOfAnother) {
  Folder folder;
  const auto stopped_after = [&](std::int64_t stop_at) {
    std::atomic<std::int64_t> answered = 0;
    EXPECT_EQ(folder.run(2, answered,
                         [&](std::int64_t all) {
                           if (all == stop_at) parallel::request_stop(SIGUSR1);
                         }),
              "");
    parallel::clear_stop();
  };
  const auto asked = [&] {
    std::atomic<std::int64_t> answered = 0;
    EXPECT_EQ(folder.run(1, answered, [](std::int64_t) {}), folder.expected());
    return answered.load();
  };
  stopped_after(20);
  folder.options.subject.weights = "4567";
  EXPECT_EQ(asked(), Folder::kRequests);
  fs::remove_all(folder.out());
  // A damaged file is worth nothing.
  stopped_after(60);
  for (const auto& entry : fs::directory_iterator(folder.out() / "unfinished")) {
    std::string text = base::read_file(entry.path());
    if (!text.empty()) text[text.size() / 2] ^= 1;
    base::write_file(entry.path(), text);
  }
  EXPECT_EQ(asked(), Folder::kRequests);
}

// Ranks in pairs that do the same work: both end at the same request, whichever of them gets the
// signal.
TEST(Evaluation, MatesStopTogether) {
  const Folder folder;
  for (int round = 0; round < 5; ++round) {
    std::array<std::atomic<std::int64_t>, 4> answered = {};
    std::atomic<std::int64_t> all = 0;
    parallel::run_in_process(4, [&](parallel::Communicator& world) {
      const int row = world.rank() / 2, column = world.rank() % 2;
      const auto mates = world.split(row, column, "mates");
      const auto readers = world.split(column, row, "readers");
      EventfulModel model(all, [&](std::int64_t count) {
        ++answered[static_cast<std::size_t>(world.rank())];
        if (count == 50 + round) parallel::request_stop(SIGUSR1);
      });
      Evaluation evaluation(bytes(), folder.options);
      evaluation.keep_in(folder.out());
      EXPECT_FALSE(evaluation.run(model, {world, *readers, mates.get()}));
    });
    parallel::clear_stop();
    EXPECT_EQ(answered[0], answered[1]);
    EXPECT_EQ(answered[2], answered[3]);
    fs::remove_all(folder.out());
  }
}

TEST(Evaluation, TheFailureOfOneRankEndsAll) {
  const Folder folder;
  std::atomic<std::int64_t> answered = 0;
  const std::string message = test::message_of<base::Error>([&] {
    folder.run(
        3, answered, [](std::int64_t) {}, /*bad=*/10);
  });
  EXPECT_NE(message.find("the model's log-likelihood is not a number"), std::string::npos)
      << message;
  EXPECT_LT(answered, Folder::kRequests);
}

// A disk that fails costs the kept answers, not the evaluation.
TEST(Evaluation, GoesOnWhereAnswersCannotBeKept) {
  const Folder folder;
  const std::string expected = folder.expected();
  base::set_fault_hook([](std::string_view operation, const base::Path& path) {
    return operation == "write" && path.string().find("answers-") != std::string::npos ? ENOSPC : 0;
  });
  std::atomic<std::int64_t> answered = 0;
  const std::string text = folder.run(2, answered, [](std::int64_t) {});
  base::set_fault_hook(nullptr);
  EXPECT_EQ(text, expected);
}

TEST(Identity, NamesWhateverDecidesANumber) {
  Folder folder;
  const auto identity = [&] { return Evaluation(bytes(), folder.options).identity(); };
  const std::string before = identity();
  EXPECT_EQ(difference(before, identity()), "");
  const auto changed = [&](const std::function<void(EvaluateOptions&)>& change) {
    const EvaluateOptions saved = folder.options;
    change(folder.options);
    const std::string text = difference(before, identity());
    folder.options = saved;
    return text;
  };
  EXPECT_EQ(changed([](auto& o) { o.subject.step = 9; }), "step 5, now 9");
  EXPECT_EQ(changed([](auto& o) { o.subject.weights = "45"; }), "weights 0123, now 45");
  EXPECT_EQ(changed([](auto& o) { o.subject.precision = "bf16"; }), "precision fp32, now bf16");
  EXPECT_EQ(changed([](auto& o) { o.max_length = 100; }), "max_length null, now 100");
  EXPECT_NE(changed([](auto& o) { o.shots = 1; }), "");
  EXPECT_NE(changed([](auto& o) { o.limits[""] = 17; }), "");
  EXPECT_NE(changed([](auto& o) { o.tasks = {"both"}; }), "");
  EXPECT_NE(changed([](auto& o) { o.tasks = {"drawn", "plain", "last"}; }), "");
  EXPECT_EQ(changed([](auto& o) { o.places.data = o.places.data / "."; }), "");
  EXPECT_EQ(difference(before, before, true), "");

  // The tasks themselves: a right answer, a text, a word of the prompt, a metric.
  const auto edited = [&](const std::string& file, const std::string& from, const std::string& to) {
    const std::string text = base::read_file(folder.tasks.path(file));
    std::string other = text;
    other.replace(other.find(from), from.size(), to);
    folder.tasks.write(file, other);
    const std::string differs = difference(before, identity());
    folder.tasks.write(file, text);
    return differs;
  };
  EXPECT_TRUE(edited("plain.jsonl", "\"a\": 0", "\"a\": 1").starts_with("tasks.plain.content "));
  EXPECT_TRUE(edited("drawn.jsonl", "three", "seven").starts_with("tasks.drawn.content "));
  EXPECT_TRUE(edited("last.yaml", "Q: ", "Question: ").starts_with("tasks.last.content "));
  EXPECT_TRUE(edited("last.yaml", "[acc, acc_norm]", "[acc]").starts_with("tasks.last.content "));
  EXPECT_EQ(edited("last.yaml", "version: 1", "version: 2"), "tasks.last.version 1.0, now 2.0");
  EXPECT_TRUE(edited("both.yaml", "[acc]", "[acc, acc_norm]").starts_with("groups.both "));
}

TEST(Identity, AFolderHoldsOneEvaluation) {
  using Kind = ExistingOutput::Kind;
  Folder folder;
  const auto results = [&] {
    test::HashModel model;
    return evaluate(model, bytes(), *parallel::open_single(), folder.options);
  };
  const Results first = results();
  EXPECT_EQ(inspect_output(folder.out(), first.identity).kind, Kind::kNothing);
  write_results(first, folder.out(), true);
  EXPECT_EQ(inspect_output(folder.out(), first.identity).kind, Kind::kSame);
  EXPECT_EQ(
      nlohmann::json::parse(base::read_file(folder.out() / "results.json"))["evaluated"]["step"],
      5);

  folder.options.subject.step = 6;
  folder.options.tasks = {"plain"};
  const Results second = results();
  const ExistingOutput there = inspect_output(folder.out(), second.identity);
  EXPECT_EQ(there.kind, Kind::kOther);
  EXPECT_NE(there.what.find("step 5, now 6"), std::string::npos) << there.what;
  // Written all the same (a stage of a run): nothing of the first stays.
  write_results(second, folder.out(), true);
  EXPECT_EQ(inspect_output(folder.out(), second.identity).kind, Kind::kSame);
  EXPECT_TRUE(fs::exists(folder.out() / "samples_plain.jsonl"));
  EXPECT_FALSE(fs::exists(folder.out() / "samples_drawn.jsonl"));

  // Samples that results.json does not account for, and what does not say what it is of.
  base::write_file(folder.out() / "samples_drawn.jsonl", "");
  EXPECT_EQ(inspect_output(folder.out(), second.identity).kind, Kind::kOther);
  fs::remove(folder.out() / "samples_drawn.jsonl");
  base::write_file(folder.out() / "results.json", "{\"results\": {}}");
  EXPECT_EQ(inspect_output(folder.out(), second.identity).kind, Kind::kOther);
  base::write_file(folder.out() / "results.json", "{\"resul");
  EXPECT_EQ(inspect_output(folder.out(), second.identity).kind, Kind::kOther);
  fs::remove(folder.out() / "results.json");
  EXPECT_EQ(inspect_output(folder.out(), second.identity).kind, Kind::kOther);
}

}  // namespace
}  // namespace eyrie::eval
