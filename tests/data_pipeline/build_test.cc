#include "data_pipeline/build.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/error.h"
#include "data_pipeline/block_builder.h"
#include "data_pipeline/shard.h"
#include "data_pipeline/words.h"
#include "support/scratch_folder.h"
#include "text/tokenizer.h"

namespace eyrie::data_pipeline {
namespace {

using test::message_of;
using testing::AllOf;
using testing::HasSubstr;

std::string line_of(const std::string& text) {
  return nlohmann::json{{"text", text}, {"source", "made"}}.dump() + "\n";
}

std::string sentence(int i) {
  std::string text = "Document " + std::to_string(i) + " tells";
  for (int w = 0; w < 5 + i % 37; ++w) text += " of thing" + std::to_string(i * 31 + w * 17);
  return text + ".";
}

// Two sources: `plain` of two files, `other` of one; the excluded text lies in both.
struct Data {
  Data() {
    std::string first, second, other;
    for (int i = 0; i < 120; ++i) first += line_of(sentence(i));
    for (int i = 120; i < 150; ++i) second += line_of(sentence(i));
    second += line_of(kSecret) + line_of("") + line_of(" \n\t ") + line_of(sentence(7));
    for (int i = 150; i < 190; ++i) other += line_of(sentence(i));
    other += line_of("Here it is again: " + kSecret + " And more.") +
             line_of("broken \xEF\xBF\xBD text");
    base::write_file(folder / "plain1.jsonl", first);
    base::write_file(folder / "plain2.jsonl", second);
    base::write_file(folder / "other.jsonl", other);
    base::write_file(folder / "secret.jsonl", line_of(kSecret));
  }
  base::Config config(const std::string& output, const std::string& more = "") const {
    const std::string dir = folder.path().string();
    return base::Config::parse(
        "tokenizer: bytes\noutput: " + dir + "/" + output +
            "\nshard_tokens: 3000\nvalidation: 0.1\nexclude: {files: [" + dir +
            "/secret.jsonl], method: ngram}\nsources:\n  - {name: plain, files: '" + dir +
            "/plain*.jsonl', filters: [utf8]}\n  - {name: other, files: " + dir +
            "/other.jsonl, filters: [utf8]}\n" + more,
        "data.yaml");
  }
  std::map<std::string, std::string> files(const std::string& output) const {
    std::map<std::string, std::string> result;
    for (const auto& entry : std::filesystem::directory_iterator(folder / output))
      result[entry.path().filename()] =
          entry.is_directory() ? "folder" : base::read_file(entry.path());
    return result;
  }
  Dataset build(const std::string& output, int ranks = 1,
                const std::string& assignment = "") const {
    Dataset dataset;
    parallel::run_in_process(ranks, [&](parallel::Communicator& world) {
      base::Config yaml = config(output);
      std::istringstream each(assignment);
      for (std::string one; std::getline(each, one);) yaml.set(one);
      const Dataset mine = build_dataset(read_data_config(yaml), {}, world);
      if (world.rank() == 0) dataset = mine;
    });
    return dataset;
  }

  const std::string kSecret =
      "No training document may hold this sentence of more than thirteen words, which the "
      "evaluation keeps.";
  test::ScratchFolder folder;
};

TEST(Build, CountsAndWritesEveryDocument) {
  const Data data;
  const Dataset dataset = data.build("shards");
  ASSERT_EQ(dataset.sources.size(), 2u);
  const DocumentCounts& plain = dataset.sources[0].counts;
  EXPECT_EQ(plain.read, 154);
  EXPECT_EQ(plain.empty, 2);
  EXPECT_EQ(plain.excluded, 1);
  EXPECT_EQ(plain.written, 151);
  EXPECT_EQ(dataset.sources[1].counts.filtered, 1);
  EXPECT_EQ(dataset.sources[1].counts.excluded, 1);
  EXPECT_EQ(dataset.sources[1].excluded_by_task[0].second, 1);
  EXPECT_GT(dataset.sources[0].shards.size(), 2u);

  // Every document is in the shards, in order, as BOS text EOS; equal documents are on one side.
  const auto tokenizer = text::open_tokenizer("bytes");
  std::vector<std::string> texts;
  std::map<std::uint64_t, bool> side;
  std::int64_t held = 0;
  for (const ShardEntry& entry : dataset.sources[0].shards) {
    const Shard shard(data.folder / "shards" / entry.file);
    shard.verify();
    EXPECT_EQ(shard.info().build, dataset.build);
    EXPECT_EQ(shard.info().exclusion_hash, dataset.exclusion_hash);
    EXPECT_EQ(shard.info().filters, std::vector<std::string>{"utf8"});
    for (std::int64_t d = 0; d < shard.documents(); ++d) {
      std::vector<std::int32_t> ids(shard.offset(d + 1) - shard.offset(d));
      shard.read(shard.offset(d), ids);
      EXPECT_EQ(ids.front(), tokenizer->bos());
      EXPECT_EQ(ids.back(), tokenizer->eos());
      texts.push_back(tokenizer->decode({ids.begin() + 1, ids.end() - 1}));
      EXPECT_EQ(shard.hash(d), document_hash(texts.back()));
      EXPECT_EQ(shard.validation(d), held_out(shard.hash(d), 0.1));
      EXPECT_TRUE(side.try_emplace(shard.hash(d), shard.validation(d)).first->second ==
                  shard.validation(d));
      EXPECT_GT(shard.quality(d), 0);
      held += shard.validation(d);
    }
  }
  ASSERT_EQ(texts.size(), 151u);
  for (int i = 0; i < 150; ++i) EXPECT_EQ(texts[i], sentence(i));
  EXPECT_EQ(texts[150], sentence(7));
  EXPECT_EQ(held, plain.validation);
  EXPECT_GT(held, 3);
  EXPECT_LT(held, 40);

  const std::string table = dataset_table(dataset);
  EXPECT_THAT(table, testing::ContainsRegex("plain +154 +0 +2 +0 +1 +151 "));
  EXPECT_THAT(table, testing::ContainsRegex("all +196 +0 +2 +1 +2 +191 "));
  const auto json = nlohmann::json::parse(base::read_file(data.folder / "shards" / "dataset.json"));
  EXPECT_EQ(json["exclusion"]["report"].begin().value()["documents"], 2);
  const Dataset back = read_dataset(data.folder / "shards");
  EXPECT_EQ(dataset_table(back), table);
  EXPECT_EQ(back.build, dataset.build);
}

TEST(Build, SameBytesOnAnyNumberOfRanks) {
  const Data data;
  data.build("one", 1);
  const auto expected = data.files("one");
  EXPECT_GT(expected.size(), 4u);
  for (const int ranks : {2, 3, 5}) {
    const std::string output = "ranks" + std::to_string(ranks);
    data.build(output, ranks);
    EXPECT_EQ(data.files(output), expected) << ranks;
  }
}

TEST(Build, StartedAgainKeepsWhatIsDone) {
  const Data data;
  data.build("shards");
  const auto expected = data.files("shards");
  // Nothing to do: the files are not touched.
  const auto touched = std::filesystem::last_write_time(data.folder / "shards" / "plain-00000.h5");
  data.build("shards", 2);
  EXPECT_EQ(std::filesystem::last_write_time(data.folder / "shards" / "plain-00000.h5"), touched);

  // Interrupted among the shards: those that are whole stay, the others are made again.
  std::filesystem::remove(data.folder / "shards" / "dataset.json");
  base::write_file(data.folder / "shards" / "plain-00001.h5", "half a shard");
  std::filesystem::remove(data.folder / "shards" / "other-00000.h5");
  data.build("shards", 2);
  EXPECT_EQ(data.files("shards"), expected);
  EXPECT_EQ(std::filesystem::last_write_time(data.folder / "shards" / "plain-00000.h5"), touched);

  // Interrupted among the parts, by a disk that is full.
  int writes = 0;
  base::set_fault_hook([&](std::string_view operation, const base::Path& path) {
    const bool part = path.string().find(".parts-") != std::string::npos;
    return operation == "write" && part && ++writes > 4 ? ENOSPC : 0;
  });
  EXPECT_THAT(message_of<base::Error>([&] { data.build("again"); }), HasSubstr("no space left"));
  base::set_fault_hook(nullptr);
  EXPECT_FALSE(std::filesystem::exists(data.folder / "again" / "dataset.json"));
  data.build("again");
  EXPECT_EQ(data.files("again"), expected);
}

// That a finished build is there is not enough: every token must be as it was written.
TEST(Build, ADamagedShardOfAFinishedBuildIsMadeAgain) {
  const Data data;
  data.build("shards");
  const auto expected = data.files("shards");
  const std::filesystem::path path = data.folder / "shards" / "plain-00001.h5";
  const std::string whole = base::read_file(path);
  bool damaged = false;
  for (std::size_t at = 100; at < whole.size() && !damaged; at += 100) {
    std::string text = whole;
    text[at] ^= 1;
    base::write_file(path, text);
    try {
      const Shard shard(path);  // opens, so what is damaged is a token
      damaged = message_of<base::InputError>([&] { shard.verify(); }).find("damaged") !=
                std::string::npos;
    } catch (const base::InputError&) {
    }
  }
  ASSERT_TRUE(damaged);
  data.build("shards", 2);
  EXPECT_EQ(data.files("shards"), expected);
}

TEST(Build, OtherSettingsReplaceTheShards) {
  const Data data;
  const Dataset small = data.build("shards");
  base::write_file(data.folder / "shards" / "notes.h5", "mine");
  const Dataset large = data.build("shards", 1, "shard_tokens=1Mi");
  EXPECT_NE(small.build, large.build);
  EXPECT_EQ(large.sources[0].shards.size(), 1u);
  const auto files = data.files("shards");
  EXPECT_EQ(files.size(), 4u);  // two shards, dataset.json, and the file of the user's
  EXPECT_TRUE(files.contains("notes.h5"));
}

TEST(Build, BadLinesStopItOrAreCounted) {
  const Data data;
  base::write_file(data.folder / "plain1.jsonl",
                   line_of("a") + "{\"text\": \n" + line_of("b") + "{\"body\": 1}\n");
  for (const int ranks : {1, 3})
    EXPECT_THAT(message_of<base::InputError>([&] { data.build("shards", ranks); }),
                AllOf(HasSubstr("plain1.jsonl:2:"), HasSubstr("on_error: skip")));
  EXPECT_FALSE(std::filesystem::exists(data.folder / "shards" / "dataset.json"));
  const Dataset dataset = data.build("shards", 3, "sources.0.on_error=skip");
  EXPECT_EQ(dataset.sources[0].counts.bad_lines, 2);
  EXPECT_EQ(dataset.sources[0].counts.read, 38);
  ASSERT_EQ(dataset.sources[0].bad_lines.size(), 2u);
  const BadLine& second = dataset.sources[0].bad_lines[1];
  EXPECT_EQ(second.file, (data.folder / "plain1.jsonl").string());
  EXPECT_EQ(second.line, 4);
  EXPECT_EQ(second.reason, "no field \"text\"; the line has: body");
  EXPECT_TRUE(dataset.sources[1].bad_lines.empty());
}

TEST(Build, TheFirstBadLinesAreNamedAtAnyNumberOfRanks) {
  const Data data;
  std::string lines;
  for (int i = 0; i < 400; ++i)
    lines +=
        i % 3 == 1 ? "{\"text\": \"\\ud83d\", \"\xC3\xA9\\ud83d\": 1}\n" : line_of(sentence(i));
  base::write_file(data.folder / "plain2.jsonl", lines);
  base::write_file(data.folder / "plain1.jsonl",
                   line_of("a") + "[\"\\ud800\"]\n" + "{\"\\ud83d\": 2}\n");
  std::string expected;
  for (const int ranks : {1, 2, 5}) {
    std::filesystem::remove_all(data.folder / "shards");
    const Dataset dataset =
        data.build("shards", ranks, "sources.0.on_error=skip\nsources.0.filters=[]");
    const SourceSummary& source = dataset.sources[0];
    EXPECT_EQ(source.counts.bad_lines, 2 + 133);
    ASSERT_EQ(source.bad_lines.size(), kNamedBadLines);
    EXPECT_EQ(source.bad_lines[0].line, 2);
    EXPECT_EQ(source.bad_lines[1].reason, "no field \"text\"; the line has: \uFFFD\uFFFD\uFFFD");
    EXPECT_EQ(source.bad_lines[4].line, 8);
    EXPECT_EQ(source.bad_lines[4].column, 11);
    const std::string written = base::read_file(data.folder / "shards" / "dataset.json");
    EXPECT_THAT(written, HasSubstr("half of a surrogate pair"));
    if (expected.empty()) expected = written;
    EXPECT_EQ(written, expected);
    EXPECT_EQ(to_json(read_dataset(data.folder / "shards").sources[0].bad_lines),
              to_json(source.bad_lines));
  }
}

TEST(Build, ASourceOfWhichNothingIsLeftIsRefused) {
  const Data data;
  base::write_file(data.folder / "other.jsonl",
                   line_of("") + line_of(data.kSecret) + "{}\n" + line_of("\xEF\xBF\xBD"));
  for (const int ranks : {1, 3})
    EXPECT_THAT(message_of<base::InputError>(
                    [&] { data.build("shards", ranks, "sources.1.on_error=skip"); }),
                HasSubstr("source other: nothing is left of its 4 documents (1 bad line, 1 empty, "
                          "1 filtered, 1 excluded)"));
  EXPECT_FALSE(std::filesystem::exists(data.folder / "shards" / "dataset.json"));
  base::write_file(data.folder / "other.jsonl", "\n\n");
  EXPECT_THAT(message_of<base::InputError>([&] { data.build("shards"); }),
              HasSubstr("source other: nothing is left of its 0 documents"));
  base::write_file(data.folder / "secret.jsonl", "\n");
  EXPECT_THAT(message_of<base::InputError>([&] { data.build("shards"); }),
              HasSubstr("secret.jsonl: no items in it"));
}

TEST(Build, LongDocumentsAreRefusedBeyondTheLimits) {
  const Data data;
  base::write_file(data.folder / "plain2.jsonl",
                   line_of(std::string(5000, 'x')) + line_of(std::string(3000, 'y')));
  EXPECT_THAT(
      message_of<base::InputError>([&] { data.build("shards", 2, "largest_document=4000"); }),
      AllOf(HasSubstr("plain2.jsonl:1: a line of more than 4000 bytes (largest_document)"),
            HasSubstr("on_error: skip")));
  EXPECT_NO_THROW(data.build("shards", 1, "largest_document=6000"));
  const Dataset whole = data.build("shards");
  EXPECT_EQ(whole.sources[0].counts.written, 122);
}

TEST(DataConfig, RefusesWhatItCannotDo) {
  const Data data;
  const auto message = [&](const std::string& assignment, const std::string& more = "") {
    return message_of<base::InputError>([&] {
      base::Config yaml = data.config("shards", more);
      if (!assignment.empty()) yaml.set(assignment);
      read_data_config(yaml);
    });
  };
  EXPECT_THAT(message("", "shard_token: 5\n"),
              AllOf(HasSubstr("data.yaml"), HasSubstr("shard_tokens")));
  EXPECT_THAT(message("sources.0.filters=[quality]"),
              HasSubstr("'quality' is not available in this version"));
  EXPECT_THAT(message("sources.0.filters=[utf9]"), HasSubstr("unknown filter 'utf9'"));
  EXPECT_THAT(message("sources.0.files=/nowhere/*.jsonl"),
              HasSubstr("no file matches /nowhere/*.jsonl"));
  EXPECT_THAT(message("sources.1.name=plain"), HasSubstr("a second source named plain"));
  EXPECT_THAT(message("sources.1.name=a/b"), HasSubstr("'a/b'"));
  EXPECT_THAT(message("exclude.method=bloom"), HasSubstr("'bloom' is not available"));
  EXPECT_THAT(message("exclude.method=none"), HasSubstr("remove them"));
  EXPECT_THAT(message("validation=1"), HasSubstr("not a share"));
  EXPECT_THAT(message("shard_tokens=0"), HasSubstr("shard_tokens"));
  EXPECT_THAT(message("sources.0.on_error=ignore"), HasSubstr("'ignore'"));
}

}  // namespace
}  // namespace eyrie::data_pipeline
