// lm-evaluation-harness's own runs: every prompt, every split of tokens, every score and standard
// error. The model is a table of the log-likelihoods of the run, so what is tested is all but the
// model. Runs on tests/fixtures/eval, and on the full set of golden files where EYRIE_SHARED names
// a folder that has them.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "eval/evaluate.h"
#include "eval/prompt.h"
#include "eval/shots.h"
#include "support/scratch_folder.h"

namespace eyrie::eval {
namespace {

using Json = nlohmann::json;
namespace fs = std::filesystem;

const fs::path kFixtures = fs::path(EYRIE_SOURCE_DIR) / "tests/fixtures/eval";

struct Reference {  // of one request
  std::string context_sha256, continuation;
  std::int64_t context_tokens = 0, continuation_tokens = 0;
  double log_likelihood = 0;
  bool is_greedy = false;
  std::vector<std::int32_t> continuation_ids;  // of the first documents
};

struct GoldenRun {
  std::string name;
  bool shared = false;  // from the full set
  Json summary;
  std::map<std::pair<std::string, std::int64_t>, std::vector<Reference>>
      documents;  // by task and document
};

// Nothing that lies beside the sources by chance is part of the tests: the folder is named, or
// there is none.
fs::path shared_folder() {
  const char* chosen = std::getenv("EYRIE_SHARED");
  return chosen != nullptr ? chosen : "";
}

void add_fixture_document(const Json& line, GoldenRun& run) {
  auto& requests = run.documents[{line["task"], line["doc_id"]}];
  for (std::size_t i = 0; i < line["loglikelihoods"].size(); ++i) {
    Reference one;
    one.context_sha256 = line["context_sha256"];
    one.context_tokens = line["context_tokens"];
    one.continuation_tokens = line["continuation_tokens"][i];
    one.log_likelihood = line["loglikelihoods"][i];
    if (line.contains("continuations")) {
      one.continuation = line["continuations"][i];
      one.continuation_ids = line["continuation_ids"][i].get<std::vector<std::int32_t>>();
    }
    requests.push_back(one);
  }
}

void add_golden_request(const Json& line, GoldenRun& run) {
  Reference one;
  one.context_sha256 = line["context_sha256"];
  one.continuation = line["continuation"];
  one.context_tokens = line["context_tokens"];
  one.continuation_tokens = line["continuation_tokens"];
  one.log_likelihood = line["loglikelihood"];
  one.is_greedy = line["is_greedy"];
  if (line.contains("continuation_ids"))
    one.continuation_ids = line["continuation_ids"].get<std::vector<std::int32_t>>();
  run.documents[{line["task"], line["doc_id"]}].push_back(one);
}

std::string unzipped(const fs::path& path) {
  std::FILE* pipe = popen(("gzip -dc '" + path.string() + "'").c_str(), "r");
  std::string text;
  char buffer[1 << 16];
  for (std::size_t got; (got = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;)
    text.append(buffer, got);
  EXPECT_EQ(pclose(pipe), 0) << path;
  return text;
}

GoldenRun load(const std::string& name, bool shared) {
  GoldenRun run{name, shared, {}, {}};
  const fs::path golden = shared_folder() / "peers/lm_eval/golden";
  std::ifstream results(shared ? golden / "results.json" : kFixtures / "golden_results.json");
  run.summary = Json::parse(results)[name];
  std::istringstream lines;
  if (shared) {
    lines.str(unzipped(golden / (name + ".jsonl.gz")));
  } else {
    std::ifstream file(kFixtures / "golden.jsonl");
    lines.str(std::string(std::istreambuf_iterator<char>(file), {}));
  }
  for (std::string line; std::getline(lines, line);) {
    const Json json = Json::parse(line);
    if (shared) {
      add_golden_request(json, run);
    } else if (json["run"] == name) {
      add_fixture_document(json, run);
    }
  }
  return run;
}

struct Source {
  std::string name;
  bool shared;
};

std::vector<Source> sources() {
  std::vector<Source> all;
  const auto add = [&](const fs::path& path, bool shared) {
    std::ifstream file(path);
    if (!file) return;
    const Json runs = Json::parse(file);
    for (const auto& [name, run] : runs.items()) all.push_back({name, shared});
  };
  add(kFixtures / "golden_results.json", false);
  if (!shared_folder().empty()) add(shared_folder() / "peers/lm_eval/golden/results.json", true);
  return all;
}

// Answers with the run's own log-likelihoods, by the tokens that it is asked about.
class TableModel : public model::LanguageModel {
 public:
  using Key = std::pair<std::vector<std::int32_t>, std::vector<std::int32_t>>;
  using Table = std::map<Key, model::Score>;
  explicit TableModel(const Table& table) : table_(table) {}
  std::int32_t vocabulary() const override { return 32000; }
  std::vector<model::Score> score(std::span<const model::ScoreRequest> requests,
                                  const model::ScoreProgress&) override {
    std::vector<model::Score> scores;
    for (const auto& request : requests)
      scores.push_back(table_.at({request.context, request.continuation}));
    return scores;
  }

 private:
  const Table& table_;
};

// The same long prompts are encoded by every run and rank; once is enough.
class RememberingTokenizer : public text::Tokenizer {
 public:
  explicit RememberingTokenizer(const fs::path& file)
      : tokenizer_(text::open_tokenizer(file.string())) {}
  std::vector<std::int32_t> encode(std::string_view text, std::size_t) const override {
    const std::lock_guard lock(mutex_);
    const auto [at, is_new] = known_.try_emplace(std::string(text));
    if (is_new) at->second = tokenizer_->encode(text);
    return at->second;
  }
  std::string decode(const std::vector<std::int32_t>& ids) const override {
    return tokenizer_->decode(ids);
  }
  std::int32_t bos() const override { return tokenizer_->bos(); }
  std::int32_t eos() const override { return tokenizer_->eos(); }
  std::int32_t size() const override { return tokenizer_->size(); }
  std::string piece(std::int32_t id) const override { return tokenizer_->piece(id); }
  std::int32_t find(std::string_view piece) const override { return tokenizer_->find(piece); }
  const std::string& hash() const override { return tokenizer_->hash(); }

 private:
  std::shared_ptr<const text::Tokenizer> tokenizer_;
  mutable std::mutex mutex_;
  mutable std::unordered_map<std::string, std::vector<std::int32_t>> known_;  // guarded by mutex_
};

class Golden : public testing::TestWithParam<Source> {};

TEST_P(Golden, PromptsTokensScoresAndErrorsAgree) {
  const GoldenRun run = load(GetParam().name, GetParam().shared);
  const std::string named = run.summary["task"];
  const auto known = text::read_tasks({}).names();
  if (run.shared && std::find(known.begin(), known.end(), named) == known.end())
    GTEST_SKIP() << "no task " << named;
  ASSERT_FALSE(run.documents.empty());
  static const RememberingTokenizer tokenizer(kFixtures / "tokenizer.model");

  // The full set keeps one benchmark in a folder of another name.
  const test::ScratchFolder links;
  EvaluateOptions options;
  options.places.data = fs::path(EYRIE_SOURCE_DIR) / "data/eval";
  if (run.shared) {
    options.places.data = links.path();
    for (const auto& entry : fs::directory_iterator(shared_folder() / "data")) {
      fs::create_symlink(fs::absolute(entry.path()), links / entry.path().filename().string());
    }
    fs::create_symlink(fs::absolute(shared_folder() / "data/extra_eval"), links / "lambada");
  }
  options.tasks = {named};
  options.shots = run.summary["num_fewshot"].get<int>();
  options.limits[""] = run.summary["limit_per_task"];
  options.max_length = run.summary["max_length"];

  // The table, and on the way the parts of the pipeline one by one.
  TableModel::Table table;
  RequestEncoder encoder(tokenizer, options.max_length);
  std::size_t checked = 0;
  for (const auto& task : text::open_tasks(options.tasks[0], options.places)) {
    const auto& definition = task->definition();
    const auto& items = task->items(definition.evaluated_split());
    const std::int64_t count =
        std::min<std::int64_t>(options.limits[""], static_cast<std::int64_t>(items.size()));
    const auto shots = choose_shots(*task, *options.shots, count);
    for (std::int64_t i = 0; i < count; ++i) {
      const auto found = run.documents.find({task->name(), i});
      ASSERT_NE(found, run.documents.end()) << task->name() << " " << i;
      const std::string head = prompt_head(
          definition, shots[i].empty() ? items : task->items(definition.shot_split()), shots[i]);
      ASSERT_EQ(items[i].targets.size(), found->second.size());
      for (std::size_t choice = 0; choice < found->second.size(); ++choice) {
        const Reference& reference = found->second[choice];
        const std::string target = continuation(definition, items[i], choice);
        const EncodedRequest encoded = encoder.encode(head + items[i].prompt_of(choice), target);
        if (!reference.continuation.empty()) {
          EXPECT_EQ(target, reference.continuation);
        }
        if (!reference.continuation_ids.empty()) {
          EXPECT_EQ(encoded.request.continuation, reference.continuation_ids);
        }
        table[{encoded.request.context, encoded.request.continuation}] = {reference.log_likelihood,
                                                                          reference.is_greedy};
        ++checked;
      }
    }
  }
  EXPECT_EQ(checked, run.summary["requests"].get<std::size_t>());

  for (const int ranks : {1, 3}) {
    parallel::run_in_process(ranks, [&](parallel::Communicator& communicator) {
      TableModel model(table);
      const Results results = evaluate(model, tokenizer, communicator, options);
      if (communicator.rank() != ranks - 1) return;

      for (const auto& [key, requests] : run.documents) {
        const auto& answers =
            results.tasks.at(key.first).documents.at(static_cast<std::size_t>(key.second));
        ASSERT_EQ(answers.size(), requests.size());
        for (std::size_t choice = 0; choice < requests.size(); ++choice) {
          ASSERT_EQ(answers[choice].context_sha256, requests[choice].context_sha256)
              << key.first << " " << key.second;
          EXPECT_EQ(answers[choice].context_tokens, requests[choice].context_tokens)
              << key.first << " " << key.second;
          EXPECT_EQ(answers[choice].continuation_tokens, requests[choice].continuation_tokens)
              << key.first << " " << key.second;
          EXPECT_EQ(answers[choice].log_likelihood, requests[choice].log_likelihood);
        }
      }
      for (const auto& [name, reference] : run.summary["results"].items()) {
        for (const auto& [metric, value] : reference.items()) {
          const std::size_t end = metric.find(",none");
          if (end == std::string::npos || !value.is_number()) continue;
          const std::string full = metric.substr(0, end);
          const std::size_t error = full.find("_stderr");
          const MetricResult& ours = results.metric(name, full.substr(0, error));
          const double got = error == std::string::npos ? ours.value : ours.error.value();
          EXPECT_NEAR(got, value.get<double>(), full == "perplexity_stderr" ? 1e-6 : 1e-9)
              << name << " " << metric;
        }
      }
    });
  }
}

INSTANTIATE_TEST_SUITE_P(Runs, Golden, testing::ValuesIn(sources()), [](const auto& info) {
  return info.param.name + (info.param.shared ? "_full" : "");
});

}  // namespace
}  // namespace eyrie::eval
