// Plain-text sources: one file is one document, whose end is held out.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "data_pipeline/block_builder.h"
#include "data_pipeline/build.h"
#include "data_pipeline/shard.h"
#include "data_pipeline/words.h"
#include "support/scratch_folder.h"
#include "text/tokenizer.h"

namespace eyrie::data_pipeline {
namespace {

using test::message_of;
using testing::AllOf;
using testing::HasSubstr;

// A folder of texts, and what a build makes of them.
struct Texts {
  void write(const std::string& name, const std::string& text) {
    base::write_file(folder / name, text);
  }
  base::Config config(const std::string& output, const std::string& source_keys = "",
                      const std::string& more = "validation: 0.1\n") const {
    const std::string dir = folder.path().string();
    return base::Config::parse("tokenizer: bytes\noutput: " + dir + "/" + output + "\n" + more +
                                   "sources:\n  - {name: books, files: '" + dir +
                                   "/*.txt(.zst)', format: text" + source_keys + "}\n",
                               "data.yaml");
  }
  Dataset build(const std::string& output, int ranks = 1, const std::string& source_keys = "",
                const std::string& more = "validation: 0.1\n") const {
    Dataset dataset;
    parallel::run_in_process(ranks, [&](parallel::Communicator& world) {
      const DataConfig data = read_data_config(config(output, source_keys, more));
      const Dataset mine = build_dataset(data, {}, world);
      if (world.rank() == 0) dataset = mine;
    });
    return dataset;
  }
  struct Document {
    std::string text;
    bool held;
    bool operator==(const Document&) const = default;
  };
  std::vector<Document> documents(const std::string& output, const Dataset& dataset) const {
    const auto tokenizer = text::open_tokenizer("bytes");
    std::vector<Document> all;
    for (const ShardEntry& entry : dataset.sources[0].shards) {
      const Shard shard(folder / output / entry.file);
      shard.verify();
      for (std::int64_t d = 0; d < shard.documents(); ++d) {
        std::vector<std::int32_t> ids(shard.offset(d + 1) - shard.offset(d));
        shard.read(shard.offset(d), ids);
        EXPECT_EQ(ids.front(), tokenizer->bos());
        EXPECT_EQ(ids.back(), tokenizer->eos());
        all.push_back({tokenizer->decode({ids.begin() + 1, ids.end() - 1}), shard.validation(d)});
        EXPECT_EQ(shard.hash(d), document_hash(all.back().text));
      }
    }
    return all;
  }
  std::map<std::string, std::string> files(const std::string& output) const {
    std::map<std::string, std::string> result;
    for (const auto& entry : std::filesystem::directory_iterator(folder / output))
      result[entry.path().filename()] = base::read_file(entry.path());
    return result;
  }

  test::ScratchFolder folder;
};

std::string verses(int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += "Verse " + std::to_string(i * i) + " tells of things.\n";
  return text;
}

TEST(PlainText, TheEndOfEachTextIsHeldOut) {
  Texts texts;
  const std::string long_text = verses(3000), carriage_returns = "one\r\ntwo\r\n\r\nthree\r\n";
  texts.write("a.txt", "\xEF\xBB\xBF" + long_text);
  texts.write("b.txt", carriage_returns);
  texts.write("c.txt", "");
  texts.write("d.txt", " \n\r\n");
  texts.write("e.txt", "x");
  const Dataset dataset = texts.build("shards");
  const std::size_t cut = long_text.size() * 9 / 10;
  EXPECT_EQ(texts.documents("shards", dataset),
            (std::vector<Texts::Document>{{long_text.substr(0, cut), false},
                                          {long_text.substr(cut), true},
                                          {carriage_returns, false},
                                          {"x", false}}));
  const DocumentCounts& counts = dataset.sources[0].counts;
  EXPECT_EQ(counts.read, 5);
  EXPECT_EQ(counts.empty, 2);
  EXPECT_EQ(counts.written, 4);
  EXPECT_EQ(counts.validation, 1);
  EXPECT_EQ(counts.validation_tokens, static_cast<std::int64_t>(long_text.size() - cut) + 2);
}

TEST(PlainText, IsCutBetweenCharacters) {
  // Characters of 1 to 4 bytes; wherever the share falls, both parts are whole characters.
  const std::string text = "aé\u20AC\U0001F600bü\u4E2D\U0001F985z";
  for (double share = 0.01; share < 1; share += 0.01) {
    const std::size_t cut = hold_out_from(text, share);
    ASSERT_GT(cut, 0u);
    EXPECT_EQ(first_broken_byte(text.substr(0, cut)), cut) << share;
    EXPECT_EQ(first_broken_byte(text.substr(cut)), text.size() - cut) << share;
  }
  EXPECT_EQ(hold_out_from(text, 0), text.size());
  EXPECT_EQ(hold_out_from("word word word   \n", 0.1), 18u);  // the held-out part would be blank
  EXPECT_EQ(hold_out_from("\n\n\nword", 0.8), 7u);            // the other one would
  EXPECT_EQ(hold_out_from("0123456789", 0.1), 9u);
}

TEST(PlainText, SameBytesOnAnyNumberOfRanks) {
  Texts texts;
  for (int i = 0; i < 7; ++i) texts.write("t" + std::to_string(i) + ".txt", verses(40 + 90 * i));
  const std::string small_shards = "validation: 0.1\nshard_tokens: 3000\n";
  const Dataset one = texts.build("one", 1, "", small_shards);
  EXPECT_GT(one.sources[0].shards.size(), 3u);
  for (const int ranks : {2, 3, 8}) {
    texts.build("more", ranks, "", small_shards);
    EXPECT_EQ(texts.files("more"), texts.files("one")) << ranks;
    std::filesystem::remove_all(texts.folder / "more");
  }
  // Started again: nothing to do, or only what is missing.
  const auto expected = texts.files("one");
  std::filesystem::remove(texts.folder / "one" / "dataset.json");
  std::filesystem::remove(texts.folder / "one" / one.sources[0].shards[1].file);
  texts.build("one", 2, "", small_shards);
  EXPECT_EQ(texts.files("one"), expected);
}

TEST(PlainText, WhereItIsHeldOutDecidesTheBuild) {
  Texts texts;
  for (int i = 0; i < 30; ++i) texts.write(std::to_string(i) + ".txt", verses(5 + i));
  const Dataset end = texts.build("end");
  EXPECT_EQ(end.sources[0].counts.validation, 30);
  EXPECT_EQ(end.sources[0].counts.written, 60);
  const Dataset by_document = texts.build("documents", 1, ", hold_out: documents");
  EXPECT_NE(by_document.build, end.build);
  EXPECT_EQ(by_document.sources[0].counts.written, 30);
  EXPECT_LT(by_document.sources[0].counts.validation, 15);
  EXPECT_EQ(texts.build("none", 1, "", "validation: 0\n").sources[0].counts.validation, 0);
  // Lines of JSON may hold out their ends, too.
  texts.write("lines.jsonl", nlohmann::json{{"text", verses(100)}}.dump() + "\n");
  base::Config yaml = texts.config("lines");
  yaml.set("sources.0.format=jsonl");
  yaml.set("sources.0.hold_out=end");
  yaml.set("sources.0.files=" + (texts.folder / "lines.jsonl").string());
  const Dataset lines = build_dataset(read_data_config(yaml), {}, *parallel::open_single());
  EXPECT_EQ(lines.sources[0].counts.written, 2);
  EXPECT_EQ(lines.sources[0].counts.validation, 1);
}

TEST(PlainText, BytesThatAreNotUtf8StopItOrAreCounted) {
  Texts texts;
  texts.write("good.txt", verses(20));
  texts.write("bad.txt", "one\ntwo \xFF three\n");
  for (const int ranks : {1, 2})
    EXPECT_THAT(message_of<base::InputError>([&] { texts.build("shards", ranks); }),
                AllOf(HasSubstr("bad.txt:2:5: byte 0xFF is not UTF-8"),
                      HasSubstr("on_error: skip in DATA.yaml passes over such files")));
  const DocumentCounts skipped = texts.build("skip", 2, ", on_error: skip").sources[0].counts;
  EXPECT_EQ(skipped.bad_lines, 1);
  EXPECT_EQ(skipped.written, 2);
  const DocumentCounts filtered = texts.build("utf8", 2, ", filters: [utf8]").sources[0].counts;
  EXPECT_EQ(filtered.filtered, 1);
  EXPECT_EQ(filtered.written, 2);
}

TEST(PlainText, AnExcludedPassageTakesTheWholeText) {
  Texts texts;
  const std::string secret =
      "no training document may hold this sentence of more than thirteen words which the "
      "evaluation keeps";
  texts.write("a.txt", verses(200) +
                           "No training document may hold this sentence,\nof more than "
                           "thirteen words, which the evaluation keeps!\n");
  texts.write("b.txt", verses(50));
  texts.write("secret.jsonl", nlohmann::json{{"text", secret}}.dump() + "\n");
  const Dataset dataset = texts.build(
      "shards", 1, "", "exclude: {files: [" + (texts.folder / "secret.jsonl").string() + "]}\n");
  EXPECT_EQ(dataset.sources[0].counts.excluded, 1);
  EXPECT_EQ(dataset.sources[0].counts.written, 2);
}

TEST(PlainText, TheConfigurationRefusesWhatDoesNotFit) {
  Texts texts;
  texts.write("a.txt", verses(3));
  const auto message = [&](const std::string& keys) {
    return message_of<base::InputError>([&] { read_data_config(texts.config("shards", keys)); });
  };
  EXPECT_THAT(message(", text: body"), AllOf(HasSubstr("text"), HasSubstr("format: text")));
  EXPECT_THAT(message(", hold_out: beginning"),
              HasSubstr("'beginning' is neither documents nor end"));
  base::Config yaml = texts.config("shards");
  yaml.set("sources.0.format=csv");
  EXPECT_THAT(message_of<base::InputError>([&] { read_data_config(yaml); }),
              HasSubstr("'csv' is neither jsonl nor text"));
}

}  // namespace
}  // namespace eyrie::data_pipeline
