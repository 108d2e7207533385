// Rows as windows on one long text.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "base/error.h"
#include "data_pipeline/build.h"
#include "data_pipeline/next_token_stream.h"
#include "support/scratch_folder.h"

namespace eyrie::data_pipeline {
namespace {

using test::message_of;
using testing::AllOf;
using testing::HasSubstr;

// Three texts in a source, one in another; numbers make every place of them different.
struct Corpus {
  Corpus() {
    base::make_directories(folder / "raw");
    for (const char* name : {"play1", "play2", "play3", "song"}) {
      std::string text;
      for (int i = 0; i < 90; ++i) text += name + std::to_string(1000 + i);
      base::write_file(folder / "raw" / (std::string(name) + ".txt"), text);
    }
    const std::string dir = folder.path().string();
    auto yaml = base::Config::parse(
        "tokenizer: bytes\noutput: " + dir + "/shards\nvalidation: 0.2\nshard_tokens: 500\n" +
            "sources:\n  - {name: plays, files: '" + dir + "/raw/play*.txt', format: text}\n" +
            "  - {name: songs, files: " + dir + "/raw/song.txt, format: text}\n",
        "data.yaml");
    build_dataset(read_data_config(yaml), {}, *parallel::open_single());
    shards = ShardSet::open(folder / "shards", {"bytes", "bytes", {}});
  }
  StreamConfig config(std::int64_t length) const {
    StreamConfig config;
    config.mixture = {{"plays", 0.75}, {"songs", 0.25}};
    config.sequence_length = length;
    config.batch_sequences = 8;
    config.micro_shards = 4;
    config.seed = 7;
    config.stage = "first";
    config.packing = Packing::kWindows;
    return config;
  }

  test::ScratchFolder folder;
  std::shared_ptr<const ShardSet> shards;
};

using Ids = std::vector<std::int32_t>;

// The documents of one side of a source, in every order of them that a row may lie across.
std::vector<Ids> texts_of(const ShardSet::Source& source, bool held) {
  std::vector<Ids> documents;
  for (const ShardSet::Document& d : held ? source.validation : source.training) {
    const Shard& shard = source.shards[d.shard];
    documents.emplace_back(shard.offset(d.document + 1) - shard.offset(d.document));
    shard.read(shard.offset(d.document), documents.back());
  }
  std::vector<std::size_t> order(documents.size());
  std::iota(order.begin(), order.end(), 0);
  std::vector<Ids> texts;
  do {
    texts.emplace_back();
    for (const std::size_t d : order)
      texts.back().insert(texts.back().end(), documents[d].begin(), documents[d].end());
  } while (std::next_permutation(order.begin(), order.end()));
  return texts;
}

bool is_in(const Ids& row, const std::vector<Ids>& texts) {
  return std::any_of(texts.begin(), texts.end(), [&](const Ids& text) {
    return std::search(text.begin(), text.end(), row.begin(), row.end()) != text.end();
  });
}

TEST(Windows, EveryRowIsAPieceOfTheTextAndEveryTokenHasATarget) {
  const Corpus corpus;
  const auto plays = texts_of(corpus.shards->source("plays"), false),
             songs = texts_of(corpus.shards->source("songs"), false);
  const NextTokenStream stream(corpus.shards, corpus.config(50));
  std::set<Ids> different;
  int from_plays = 0, across = 0;
  for (std::int64_t step = 0; step < 40; ++step) {
    EXPECT_EQ(stream.target_count(step), 8 * 50);
    for (std::int64_t m = 0; m < 4; ++m) {
      const NextTokenBatch batch = stream.rows_of(step, m);
      for (std::int64_t r = 0; r < batch.rows; ++r) {
        Ids row(batch.tokens.begin() + r * 50, batch.tokens.begin() + (r + 1) * 50);
        ASSERT_TRUE(std::equal(row.begin() + 1, row.end(), batch.targets.begin() + r * 50));
        row.push_back(batch.targets[r * 50 + 49]);
        const bool play = is_in(row, plays);
        ASSERT_TRUE(play || is_in(row, songs));
        from_plays += play;
        across += std::count(row.begin() + 1, row.end(), 256) > 0;  // the next document's BOS
        different.insert(row);
        for (std::int64_t t = 0; t < 50; ++t) {
          ASSERT_EQ(batch.positions[r * 50 + t], t);
          ASSERT_EQ(batch.loss_mask[r * 50 + t], 1.0f);
        }
      }
    }
  }
  EXPECT_EQ(from_plays, 240);  // of 320 rows: the mixture's weights count rows
  EXPECT_GT(across, 0);        // the borders between documents are ordinary places
  EXPECT_GT(different.size(), 220u);
}

TEST(Windows, EveryPlaceIsDrawn) {
  const Corpus corpus;
  const Ids text = texts_of(corpus.shards->source("songs"), false)[0];
  ASSERT_EQ(text.size(), 578u);  // 80 % of 720 bytes, BOS, EOS
  StreamConfig config = corpus.config(570);
  config.mixture = {{"songs", 1}};
  const NextTokenStream eight(corpus.shards, config);  // places: 0 … 7
  std::set<Ids> rows;
  for (std::int64_t step = 0; step < 30; ++step)
    for (std::int64_t m = 0; m < 4; ++m) {
      const NextTokenBatch batch = eight.rows_of(step, m);
      for (std::int64_t r = 0; r < batch.rows; ++r)
        rows.emplace(batch.tokens.begin() + r * 570, batch.tokens.begin() + (r + 1) * 570);
    }
  EXPECT_EQ(rows.size(), 8u);
  EXPECT_TRUE(rows.contains(Ids(text.begin(), text.begin() + 570)));
  EXPECT_TRUE(rows.contains(Ids(text.begin() + 7, text.end() - 1)));
  EXPECT_NEAR(eight.epochs(30)[0].second, 240.0 * 570 / 578, 1e-9);
}

TEST(Windows, APureFunctionOfSeedStageAndStep) {
  const Corpus corpus;
  const NextTokenStream stream(corpus.shards, corpus.config(33)),
      again(corpus.shards, corpus.config(33));
  StreamConfig whole = corpus.config(33);
  whole.micro_shards = 1;
  const NextTokenStream one(corpus.shards, whole);
  for (const std::int64_t step : {900, 3, 0, 41}) {
    Ids tokens, targets;
    for (std::int64_t m = 0; m < 4; ++m) {
      const NextTokenBatch batch = stream.rows_of(step, m), same = again.rows_of(step, m);
      EXPECT_EQ(batch.tokens, same.tokens);
      tokens.insert(tokens.end(), batch.tokens.begin(), batch.tokens.end());
      targets.insert(targets.end(), batch.targets.begin(), batch.targets.end());
    }
    EXPECT_EQ(one.rows_of(step, 0).tokens, tokens);
    EXPECT_EQ(one.rows_of(step, 0).targets, targets);
  }
  for (const bool seed : {true, false}) {
    StreamConfig other = whole;
    if (seed) other.seed = 8;
    if (!seed) other.stage = "second";
    EXPECT_NE(NextTokenStream(corpus.shards, other).rows_of(3, 0).tokens, one.rows_of(3, 0).tokens);
  }
}

TEST(Windows, ATextThatIsTooShortIsRefusedByName) {
  const Corpus corpus;
  StreamConfig config = corpus.config(577);
  EXPECT_NO_THROW(NextTokenStream(corpus.shards, config));
  config.sequence_length = 578;
  EXPECT_THAT(message_of<base::InputError>([&] { NextTokenStream(corpus.shards, config); }),
              AllOf(HasSubstr("stage first"), HasSubstr("source songs"), HasSubstr("578 tokens"),
                    HasSubstr("need 579")));
  config.mixture = {{"plays", 1}, {"songs", 0}};
  EXPECT_NO_THROW(NextTokenStream(corpus.shards, config));
}

TEST(Windows, ValidationRowsCoverTheHeldOutTextOnce) {
  const Corpus corpus;
  for (const std::int64_t length : {1, 16, 64, 145, 1000}) {
    const ValidationStream stream(corpus.shards, length, Packing::kWindows);
    ASSERT_EQ(stream.sources(), (std::vector<std::string>{"plays", "songs"}));
    for (std::size_t s = 0; s < 2; ++s) {
      const auto texts = texts_of(corpus.shards->source(stream.sources()[s]), true);
      const NextTokenBatch batch = stream.rows(s, 0, stream.sequences(s));
      Ids line{batch.tokens[0]};  // and every target once, in order
      for (std::size_t i = 0; i < batch.tokens.size(); ++i) {
        if (batch.loss_mask[i] == 0) {
          EXPECT_EQ(batch.tokens[i], 0);  // padding
          continue;
        }
        EXPECT_EQ(batch.tokens[i], line.back());
        EXPECT_EQ(batch.positions[i], static_cast<std::int32_t>(i) % length);
        line.push_back(batch.targets[i]);
      }
      EXPECT_EQ(std::count(texts.begin(), texts.end(), line), 1) << length;
      EXPECT_EQ(stream.sequences(s),
                (static_cast<std::int64_t>(line.size()) - 1 + length - 1) / length);
    }
  }
}

}  // namespace
}  // namespace eyrie::data_pipeline
