#include "data_pipeline/next_token_stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "base/error.h"
#include "data_pipeline/dataset.h"
#include "support/scratch_folder.h"

namespace eyrie::data_pipeline {
namespace {

using test::message_of;
using testing::AllOf;
using testing::HasSubstr;

// A finished folder made by hand. Tokens name their document: document d of a source has ids
// first, first + 1, … that no other document has, so that a row says where it is from.
struct Shards {
  struct Doc {
    int length;
    float quality = 0.5f;
    bool held = false;
  };
  void add(const std::string& source, const std::vector<std::vector<Doc>>& shards) {
    SourceSummary summary;
    summary.name = source;
    for (const auto& docs : shards) {
      ShardDocuments documents;
      for (const Doc& doc : docs) {
        std::vector<std::int32_t> ids;
        for (int i = 0; i < doc.length; ++i) ids.push_back(next + i);
        documents.add(ids, doc.quality, static_cast<std::uint64_t>(next), doc.held);
        if (doc.length > 0) first_ids[next] = {source, doc};
        next += doc.length;
      }
      ShardInfo info{source, static_cast<std::int64_t>(summary.shards.size()),
                     60000,  1,
                     2,      "aaaa",
                     tasks,  "ngram",
                     "e",    {},
                     "b1"};
      const std::string file = source + std::to_string(summary.shards.size()) + ".h5";
      const std::string content = write_shard(folder / file, info, documents);
      summary.shards.push_back({file, documents.documents(), documents.offsets.back(), content});
    }
    dataset.sources.push_back(summary);
  }
  std::shared_ptr<const ShardSet> open(DataNeeds needs = {"run.model", "aaaa", {"mmlu"}}) {
    dataset.build = "b1";
    dataset.vocabulary = 60000;
    dataset.tokenizer_file = "shards.model";
    dataset.tokenizer_hash = "aaaa";
    dataset.exclusion_hash = "e";
    dataset.exclusion_tasks = {"mmlu"};
    dataset.screened_tasks = tasks;
    write_dataset(folder.path(), dataset);
    return ShardSet::open(folder.path(), needs);
  }
  // The document of a token: its first id.
  std::int32_t first_of(std::int32_t id) const {
    return std::prev(first_ids.upper_bound(id))->first;
  }

  test::ScratchFolder folder;
  Dataset dataset;
  std::vector<std::string> tasks = {"mmlu", "mmlu_anatomy"};
  std::map<std::int32_t, std::pair<std::string, Doc>> first_ids;
  int next = 10;
};

// Documents of one token, longer than rows, empty, held out, in several shards.
void fill(Shards& shards) {
  shards.add("web", {{{5}, {1}, {0}, {40, 0.9f}, {7, 0.1f, true}, {2}},
                     {{13, 0.8f}, {1}, {9}, {3, 0.2f, true}}});
  shards.add("math", {{{6}, {6}, {30, 0.7f}, {4, 0.3f, true}}});
  shards.add("code", {{{100, 0.6f}, {1}}});
}

StreamConfig config_of(std::int64_t length, std::int64_t batch, std::int64_t micro) {
  StreamConfig config;
  config.mixture = {{"web", 0.6}, {"math", 0.2}, {"code", 0.2}};
  config.sequence_length = length;
  config.batch_sequences = batch;
  config.micro_shards = micro;
  config.seed = 5;
  config.stage = "pretrain";
  return config;
}

bool operator_equal(const NextTokenBatch& a, const NextTokenBatch& b) {
  return a.tokens == b.tokens && a.targets == b.targets && a.positions == b.positions &&
         a.loss_mask == b.loss_mask;
}

TEST(NextTokenStream, RowsKeepDocumentBorders) {
  Shards shards;
  fill(shards);
  const auto set = shards.open();
  for (const std::int64_t length : {1, 7, 8, 64, 300}) {
    const NextTokenStream stream(set, config_of(length, 10, 2));
    for (std::int64_t step = 0; step < 6; ++step) {
      std::int64_t targets = 0;
      for (std::int64_t m = 0; m < 2; ++m) {
        const NextTokenBatch batch = stream.rows_of(step, m);
        ASSERT_EQ(batch.rows, 5);
        for (std::int64_t r = 0; r < batch.rows; ++r) {
          for (std::int64_t t = 0; t < length; ++t) {
            const std::int64_t i = r * length + t;
            const std::int32_t id = batch.tokens[i], first = shards.first_of(id);
            const auto& [source, doc] = shards.first_ids.at(first);
            ASSERT_FALSE(doc.held);
            const bool last = id - first == doc.length - 1;
            ASSERT_EQ(batch.loss_mask[i], last ? 0.0f : 1.0f);
            ASSERT_EQ(batch.targets[i], last ? 0 : id + 1);
            targets += !last;
            if (t == 0) {
              ASSERT_EQ(batch.positions[i], 0);
            } else if (id == first) {
              ASSERT_EQ(batch.positions[i], 0);
              // The one before was the last of its document.
              ASSERT_EQ(batch.loss_mask[i - 1], 0.0f);
            } else {
              ASSERT_EQ(batch.positions[i], batch.positions[i - 1] + 1);
              ASSERT_EQ(id, batch.tokens[i - 1] + 1);
            }
          }
        }
      }
      ASSERT_EQ(stream.target_count(step), targets) << "length " << length << " step " << step;
    }
  }
}

TEST(NextTokenStream, EveryEpochShowsEveryTokenOnceInAnotherOrder) {
  Shards shards;
  shards.add("web", {{{5}, {1}, {40}, {7, 0.1f, true}},
                     {{13}, {1}, {9}, {20}, {3}, {8}}});  // 100 tokens to train on
  const auto set = shards.open();
  StreamConfig config = config_of(10, 2, 1);
  config.mixture = {{"web", 1}};
  const NextTokenStream stream(set, config);
  std::vector<std::vector<std::int32_t>> epochs(3);
  for (int step = 0; step < 15; ++step)
    for (const std::int32_t id : stream.rows_of(step, 0).tokens) epochs[step / 5].push_back(id);
  std::set<std::int32_t> expected;
  for (const auto& [first, doc] : shards.first_ids)
    for (int i = 0; i < doc.second.length && !doc.second.held; ++i) expected.insert(first + i);
  for (const auto& epoch : epochs) {
    EXPECT_EQ(epoch.size(), 100u);
    EXPECT_EQ(std::set<std::int32_t>(epoch.begin(), epoch.end()), expected);
  }
  EXPECT_NE(epochs[0], epochs[1]);
  EXPECT_NE(epochs[1], epochs[2]);
  EXPECT_DOUBLE_EQ(stream.epochs(5)[0].second, 1.0);
  EXPECT_DOUBLE_EQ(stream.epochs(8)[0].second, 1.6);
}

TEST(NextTokenStream, APureFunctionOfSeedStageAndStep) {
  Shards shards;
  fill(shards);
  const auto set = shards.open();
  const NextTokenStream forward(set, config_of(16, 12, 4));
  std::map<std::pair<int, int>, NextTokenBatch> seen;
  for (int step = 0; step < 9; ++step)
    for (int m = 0; m < 4; ++m) seen[{step, m}] = forward.rows_of(step, m);
  const NextTokenStream backward(set, config_of(16, 12, 4));
  for (auto it = seen.rbegin(); it != seen.rend(); ++it)
    EXPECT_TRUE(operator_equal(backward.rows_of(it->first.first, it->first.second), it->second));
  // Another number of micro-shards cuts the same batch.
  const NextTokenStream whole(set, config_of(16, 12, 1));
  const NextTokenBatch batch = whole.rows_of(3, 0);
  for (int m = 0; m < 4; ++m)
    EXPECT_TRUE(std::equal(seen[{3, m}].tokens.begin(), seen[{3, m}].tokens.end(),
                           batch.tokens.begin() + m * 3 * 16));
  // Another seed or stage gives another order.
  for (const bool seed : {true, false}) {
    StreamConfig config = config_of(16, 12, 1);
    if (seed) config.seed = 6;
    if (!seed) config.stage = "anneal";
    EXPECT_FALSE(operator_equal(NextTokenStream(set, config).rows_of(3, 0), batch));
  }
}

TEST(NextTokenStream, MixtureCountsRows) {
  Shards shards;
  fill(shards);
  const auto set = shards.open();
  const NextTokenStream stream(set, config_of(1, 10, 1));  // one token per row
  std::map<std::string, int> rows;
  for (int step = 0; step < 50; ++step)
    for (const std::int32_t id : stream.rows_of(step, 0).tokens)
      ++rows[shards.first_ids.at(shards.first_of(id)).first];
  EXPECT_EQ(rows["web"], 300);
  EXPECT_EQ(rows["math"], 100);
  EXPECT_EQ(rows["code"], 100);
}

TEST(NextTokenStream, BestDrawsOnTheHighestScores) {
  Shards shards;
  std::vector<Shards::Doc> docs;
  for (int i = 0; i < 20; ++i) docs.push_back({4, 0.01f * static_cast<float>(i * 7 % 20), i == 3});
  shards.add("web", {docs});
  const auto set = shards.open();
  StreamConfig config = config_of(4, 4, 1);
  config.mixture = {{"web", 1}};
  config.quality_fraction = 0.3;  // of 19 documents: 6
  const NextTokenStream stream(set, config);
  std::set<std::int32_t> seen;
  for (int step = 0; step < 10; ++step)
    for (const std::int32_t id : stream.rows_of(step, 0).tokens) seen.insert(shards.first_of(id));
  EXPECT_EQ(seen.size(), 6u);
  for (const std::int32_t first : seen)
    EXPECT_GT(shards.first_ids.at(first).second.quality, 0.125f);
  EXPECT_DOUBLE_EQ(stream.epochs(6)[0].second, 4.0);
}

TEST(NextTokenStream, RefusesWhatDoesNotFit) {
  Shards shards;
  fill(shards);
  shards.add("held", {{{5, 0.5f, true}}});
  const auto set = shards.open();
  const auto message = [&](const std::function<void(StreamConfig&)>& change) {
    StreamConfig config = config_of(8, 12, 4);
    change(config);
    return message_of<base::InputError>([&] { NextTokenStream stream(set, config); });
  };
  EXPECT_THAT(message([](auto& c) { c.micro_shards = 5; }),
              HasSubstr("micro_shards 5 does not divide batch_sequences 12"));
  EXPECT_THAT(message([](auto& c) {
                c.mixture = {{"wbe", 1}};
              }),
              AllOf(HasSubstr("'wbe'"), HasSubstr("web, math, code, held")));
  EXPECT_THAT(message([](auto& c) {
                c.mixture = {{"held", 1}};
              }),
              HasSubstr("no documents to train on"));
  EXPECT_THAT(message([](auto& c) { c.quality_fraction = 0; }), HasSubstr("best 0"));
  EXPECT_THAT(message([](auto& c) { c.sequence_length = 0; }), HasSubstr("sequence_length 0"));
  EXPECT_EQ(message([](auto& c) { c.mixture = {{"web", 1}, {"held", 0}}; }), "nothing was thrown");
}

TEST(ShardSet, RefusesUnscreenedShards) {
  Shards shards;
  fill(shards);
  EXPECT_THAT(message_of<base::InputError>([&] {
                shards.open({"run.model", "aaaa", {"mmlu", "piqa"}});
              }),
              AllOf(HasSubstr("web0.h5"), HasSubstr("not screened for task piqa"),
                    HasSubstr("screened for: mmlu")));
  shards.open({"run.model", "aaaa", {"mmlu_anatomy"}});
  shards.open({"run.model", "aaaa", {}});
  // A group that was not named, but all of whose leaf tasks were.
  shards.open({"run.model", "aaaa", {"mmlu_other"}, {{"mmlu_other", {"mmlu_anatomy"}}}});
  EXPECT_THAT(message_of<base::InputError>([&] {
                shards.open({"run.model",
                             "aaaa",
                             {"mmlu_other"},
                             {{"mmlu_other", {"mmlu_anatomy", "mmlu_virology"}}}});
              }),
              HasSubstr("not screened for task mmlu_other"));
}

TEST(ShardSet, RefusesAnotherTokenizer) {
  Shards shards;
  fill(shards);
  EXPECT_THAT(message_of<base::InputError>([&] {
                shards.open({"run.model", "bbbb", {}});
              }),
              AllOf(HasSubstr("shards.model"), HasSubstr("aaaa"), HasSubstr("run.model"),
                    HasSubstr("bbbb")));
}

TEST(ShardSet, RefusesAnotherVocabulary) {
  Shards shards;
  fill(shards);
  shards.open({"run.model", "aaaa", {}, {}, {}, 60000});
  EXPECT_THAT(message_of<base::InputError>([&] {
                shards.open({"run.model", "aaaa", {}, {}, {}, 258});
              }),
              AllOf(HasSubstr("web0.h5"), HasSubstr("vocabulary of 60000"),
                    HasSubstr("run.model has 258 pieces")));
}

// Two descriptions of one thing: dataset.json's and the shard's own.
TEST(ShardSet, RefusesWhatTheDatasetSaysOtherwise) {
  const auto message = [](const std::function<void(Dataset&)>& change) {
    Shards shards;
    fill(shards);
    shards.open();
    change(shards.dataset);
    write_dataset(shards.folder.path(), shards.dataset);
    return message_of<base::InputError>([&] {
      ShardSet::open(shards.folder.path(), {"run.model", "aaaa", {}});
    });
  };
  const auto first = [](Dataset& d) -> ShardEntry& { return d.sources[0].shards[0]; };
  EXPECT_THAT(message([&](Dataset& d) { ++first(d).tokens; }),
              AllOf(HasSubstr("web0.h5"), HasSubstr("tokens 55 in place of 56")));
  EXPECT_THAT(message([&](Dataset& d) { --first(d).documents; }), HasSubstr("documents"));
  EXPECT_THAT(message([](Dataset& d) { d.vocabulary = 100; }), HasSubstr("vocabulary 60000"));
  EXPECT_THAT(message([](Dataset& d) { d.tokenizer_hash = "cccc"; }), HasSubstr("tokenizer aaaa"));
  EXPECT_THAT(message([](Dataset& d) { d.exclusion_hash = "f"; }), HasSubstr("exclusion e"));
  EXPECT_THAT(message([](Dataset& d) { d.screened_tasks = {"piqa"}; }), HasSubstr("screened"));
  EXPECT_THAT(message([&](Dataset& d) { first(d).file = "../web0.h5"; }),
              HasSubstr("'../web0.h5' is no file of this folder"));
  EXPECT_THAT(message([&](Dataset& d) { d.sources[0].shards[1] = first(d); }),
              HasSubstr("web0.h5 is there twice"));
}

TEST(ShardSet, RefusesUnfinishedMissingAndStrangeShards) {
  Shards shards;
  fill(shards);
  EXPECT_THAT(message_of<base::InputError>([&] { ShardSet::open(shards.folder.path(), {}); }),
              AllOf(HasSubstr("no dataset.json"), HasSubstr("run eyrie data build")));
  EXPECT_THAT(message_of<base::InputError>([&] { ShardSet::open(shards.folder / "absent", {}); }),
              HasSubstr("no such folder"));
  shards.open();
  const std::string whole = base::read_file(shards.folder / "web1.h5");
  base::write_file(shards.folder / "web1.h5", whole.substr(0, whole.size() / 2));
  EXPECT_THAT(message_of<base::InputError>([&] { shards.open(); }),
              AllOf(HasSubstr("web1.h5"), HasSubstr("build the shards again")));
  base::write_file(shards.folder / "web1.h5", base::read_file(shards.folder / "web0.h5"));
  EXPECT_THAT(message_of<base::InputError>([&] { shards.open(); }),
              AllOf(HasSubstr("web1.h5"), HasSubstr("not the shard")));
  std::filesystem::remove(shards.folder / "web1.h5");
  EXPECT_THAT(message_of<base::InputError>([&] { shards.open(); }),
              AllOf(HasSubstr("web1.h5"), HasSubstr("not there")));
  base::write_file(shards.folder / "web1.h5", whole);
  base::write_file(shards.folder / "extra.h5", whole);
  EXPECT_THAT(message_of<base::InputError>([&] { shards.open(); }),
              AllOf(HasSubstr("extra.h5"), HasSubstr("does not name")));
}

TEST(ShardSet, FingerprintFollowsTheData) {
  Shards a, b, c;
  fill(a);
  fill(b);
  c.add("web", {{{5}}});
  c.add("math", {{{6}, {6}}});
  const auto set = a.open(), same = b.open(), other = c.open();
  EXPECT_EQ(set->fingerprint({"web", "math"}), same->fingerprint({"web", "math"}));
  EXPECT_NE(set->fingerprint({"web", "math"}), other->fingerprint({"web", "math"}));
  EXPECT_NE(set->fingerprint({"web"}), set->fingerprint({"web", "math"}));
  EXPECT_EQ(NextTokenStream(set, config_of(8, 4, 1)).fingerprint(),
            set->fingerprint({"web", "math", "code"}));
}

TEST(ValidationStream, ShowsHeldOutDocumentsOnce) {
  Shards shards;
  fill(shards);
  const auto set = shards.open();
  for (const std::int64_t length : {1, 4, 64}) {
    const ValidationStream stream(set, length);
    ASSERT_EQ(stream.sources(),
              (std::vector<std::string>{"web", "math"}));  // code holds nothing out
    EXPECT_EQ(stream.sequences(0), (10 + length - 1) / length);
    const NextTokenBatch batch = stream.rows(0, 0, stream.sequences(0));
    std::multiset<std::int32_t> seen;
    float targets = 0;
    for (std::size_t i = 0; i < batch.tokens.size(); ++i) {
      targets += batch.loss_mask[i];
      if (i >= 10) {  // padding
        EXPECT_EQ(batch.tokens[i], 0);
        EXPECT_EQ(batch.loss_mask[i], 0.0f);
        EXPECT_EQ(batch.positions[i], static_cast<std::int32_t>(i) - 10);
        continue;
      }
      seen.insert(batch.tokens[i]);
      EXPECT_TRUE(shards.first_ids.at(shards.first_of(batch.tokens[i])).second.held);
    }
    EXPECT_EQ(seen.size(), 10u);
    EXPECT_EQ(targets, 8.0f);  // two documents
    const NextTokenBatch last = stream.rows(0, stream.sequences(0) - 1, 1);
    EXPECT_TRUE(std::equal(last.tokens.begin(), last.tokens.end(), batch.tokens.end() - length));
  }
}

}  // namespace
}  // namespace eyrie::data_pipeline
