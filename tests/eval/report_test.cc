// results.json, samples and the table.
#include "eval/report.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "eval/sha256.h"
#include "small_task.h"

namespace eyrie::eval {
namespace {

using Json = nlohmann::json;

Results two_tasks(const test::TaskFolder& folder) {
  folder.write_quiz("quiz", 20, "validation_split: test\nshots: 2\nalias: the quiz");
  folder.write_quiz("single", 1);
  folder.write("both.yaml", "group: both\nversion: 2\nmetrics: [acc]\ntasks: [quiz, single]\n");
  EvaluateOptions options;
  options.tasks = {"both"};
  options.places = folder.places();
  options.limits = {{"", 10}};
  options.model = "a model";
  test::HashModel model;
  return evaluate(model, *text::open_tokenizer("bytes"), *parallel::open_single(), options);
}

TEST(Report, ResultsHaveLmEvaluationHarnesssLayout) {
  const test::TaskFolder folder;
  const Results results = two_tasks(folder);
  const Json json = Json::parse(results_json(results));
  const Json& quiz = json["results"]["quiz"];
  EXPECT_EQ(quiz["alias"], " - the quiz");
  EXPECT_EQ(quiz["acc,none"], results.metric("quiz", "acc").value);
  EXPECT_EQ(quiz["acc_stderr,none"], *results.metric("quiz", "acc").error);
  EXPECT_EQ(quiz["acc_norm,none"], results.metric("quiz", "acc_norm").value);
  EXPECT_EQ(quiz["acc_norm_stderr,none"], *results.metric("quiz", "acc_norm").error);
  EXPECT_EQ(json["results"]["single"]["acc_stderr,none"], "N/A");
  EXPECT_EQ(json["results"]["both"], json["groups"]["both"]);
  EXPECT_EQ(json["groups"]["both"]["acc,none"], results.metric("both", "acc").value);
  EXPECT_FALSE(json["groups"]["both"].contains("acc_norm,none"));
  EXPECT_EQ(json["group_subtasks"]["both"], (Json{"quiz", "single"}));
  EXPECT_EQ(json["versions"], (Json{{"both", 2.0}, {"quiz", 1.0}, {"single", 1.0}}));
  EXPECT_EQ(json["n-shot"], (Json{{"quiz", 2}, {"single", 0}}));
  EXPECT_EQ(json["n-samples"]["quiz"], (Json{{"original", 20}, {"effective", 10}}));
  EXPECT_EQ(json["higher_is_better"]["quiz"], (Json{{"acc", true}, {"acc_norm", true}}));
  EXPECT_EQ(json["configs"]["quiz"]["num_fewshot"], 2);
  EXPECT_EQ(json["config"]["limit"], 10);
  EXPECT_EQ(json["config"]["model_args"], "a model");
  EXPECT_EQ(json["config"]["tokenizer"], "bytes");
  EXPECT_TRUE(json["config"]["max_length"].is_null());
}

TEST(Report, TheTableIsMarkdown) {
  const test::TaskFolder folder;
  Results results = two_tasks(folder);
  auto set = [&](const std::string& task, std::vector<MetricResult> metrics) {
    results.tasks.at(task).metrics = std::move(metrics);
  };
  set("quiz", {{"acc", 0.25, 0.03125}, {"acc_norm", 0.5, 0.1}});
  set("single", {{"acc", 1, {}}});
  results.groups.at("both").metrics = {{"acc", 0.3125, 0.02}};
  EXPECT_EQ(results_table(results),
            "|   Tasks   |Version|Filter|n-shot| Metric |   |Value |   |Stderr|\n"
            "|-----------|------:|------|-----:|--------|---|-----:|---|-----:|\n"
            "|both       |      2|none  |      |acc     |↑  |0.3125|±  |0.0200|\n"
            "| - the quiz|      1|none  |     2|acc     |↑  |0.2500|±  |0.0312|\n"
            "|           |       |none  |     2|acc_norm|↑  |0.5000|±  |0.1000|\n"
            "| - single  |      1|none  |     0|acc     |↑  |1.0000|±  |   N/A|\n"
            "\n"
            "|Groups|Version|Filter|n-shot|Metric|   |Value |   |Stderr|\n"
            "|------|------:|------|-----:|------|---|-----:|---|-----:|\n"
            "|both  |      2|none  |      |acc   |↑  |0.3125|±  |0.0200|\n");
}

TEST(Report, FilesHoldResultsAndSamples) {
  const test::TaskFolder folder;
  const Results results = two_tasks(folder);
  write_results(results, folder.path("out/deep"), true);
  EXPECT_EQ(base::read_file(folder.path("out/deep/results.json")), results_json(results));
  std::istringstream lines(base::read_file(folder.path("out/deep/samples_quiz.jsonl")));
  std::vector<Json> samples;
  for (std::string line; std::getline(lines, line);) samples.push_back(Json::parse(line));
  ASSERT_EQ(samples.size(), 10u);
  const auto& task = results.tasks.at("quiz");
  double right = 0;
  for (std::size_t i = 0; i < samples.size(); ++i) {
    EXPECT_EQ(samples[i]["doc_id"], i);
    EXPECT_EQ(samples[i]["target"], i % 3);
    ASSERT_EQ(samples[i]["requests"].size(), 3u);
    EXPECT_EQ(samples[i]["requests"][1]["continuation"], " é");
    EXPECT_EQ(samples[i]["requests"][1]["continuation_tokens"], 3);
    EXPECT_EQ(samples[i]["requests"][2]["loglikelihood"], task.documents[i][2].log_likelihood);
    right += samples[i]["acc"].get<double>();
  }
  EXPECT_DOUBLE_EQ(right / 10, results.metric("quiz", "acc").value);
  EXPECT_EQ(samples[0]["requests"][0]["context_sha256"].get<std::string>().size(), 64u);
  EXPECT_TRUE(std::filesystem::exists(folder.path("out/deep/samples_single.jsonl")));

  write_results(results, folder.path("bare"), false);
  EXPECT_FALSE(std::filesystem::exists(folder.path("bare/samples_quiz.jsonl")));
}

}  // namespace
}  // namespace eyrie::eval
