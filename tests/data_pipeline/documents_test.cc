#include "data_pipeline/documents.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>
#include <zstd.h>

#include "base/error.h"
#include "support/scratch_folder.h"

namespace eyrie::data_pipeline {
namespace {

using test::message_of;

std::string gzipped(const std::string& plain) {
  z_stream stream{};
  deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&stream, plain.size()) + 64, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(plain.data()));
  stream.avail_in = static_cast<uInt>(plain.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

std::string zstd(const std::string& plain) {
  std::string out(ZSTD_compressBound(plain.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), plain.data(), plain.size(), 3));
  return out;
}

std::vector<std::pair<std::int64_t, std::string>> lines_of(const base::Path& path) {
  std::vector<std::pair<std::int64_t, std::string>> lines;
  LineReader reader(path);
  for (std::string_view line; reader.next(line);) lines.emplace_back(reader.number(), line);
  EXPECT_EQ(reader.consumed(), std::filesystem::file_size(path));
  return lines;
}

TEST(LineReader, ReadsPlainGzipAndZstdAlike) {
  test::ScratchFolder folder;
  // Lines from empty to longer than any buffer, with and without a break at the end.
  std::string plain;
  for (int i = 0; i < 200; ++i) plain += std::string(i * i % 977 + 1, 'a' + i % 26) + "\n";
  plain += std::string(3 << 20, 'x') + "\n\n  \t\nlast line";
  base::write_file(folder / "plain", plain);
  base::write_file(folder / "gzip", gzipped(plain));
  base::write_file(folder / "zstd", zstd(plain));
  base::write_file(folder / "members",
                   gzipped(plain.substr(0, 5000)) + gzipped(plain.substr(5000)));
  base::write_file(folder / "frames",
                   zstd(plain.substr(0, 70000)) + zstd("") + zstd(plain.substr(70000)));
  const auto lines = lines_of(folder / "plain");
  ASSERT_EQ(lines.size(), 202u);
  EXPECT_EQ(lines[0], (std::pair<std::int64_t, std::string>(1, "a")));
  EXPECT_EQ(lines[200].second.size(), std::size_t{3} << 20);
  EXPECT_EQ(lines[201], (std::pair<std::int64_t, std::string>(204, "last line")));
  for (const char* name : {"gzip", "zstd", "members", "frames"})
    EXPECT_EQ(lines_of(folder / name), lines) << name;
}

TEST(LineReader, SizesAtTheBuffersBorder) {
  test::ScratchFolder folder;
  for (const int size : {(1 << 20) - 1, 1 << 20, (1 << 20) + 1, 2 << 20}) {
    const std::string plain = std::string(size - 1, 'y') + "\n";
    for (const std::string& bytes : {plain, gzipped(plain), zstd(plain)}) {
      base::write_file(folder / "file", bytes);
      const auto lines = lines_of(folder / "file");
      ASSERT_EQ(lines.size(), 1u) << size;
      EXPECT_EQ(lines[0].second.size(), static_cast<std::size_t>(size - 1));
    }
  }
}

TEST(LineReader, EmptyFilesAndMarks) {
  test::ScratchFolder folder;
  base::write_file(folder / "empty", "");
  base::write_file(folder / "empty.gz", gzipped(""));
  base::write_file(folder / "mark", "\xEF\xBB\xBF{}\r\n");
  EXPECT_TRUE(lines_of(folder / "empty").empty());
  EXPECT_TRUE(lines_of(folder / "empty.gz").empty());
  EXPECT_EQ(lines_of(folder / "mark"),
            (std::vector<std::pair<std::int64_t, std::string>>{{1, "{}\r"}}));
}

TEST(LineReader, RefusesDamagedFiles) {
  test::ScratchFolder folder;
  std::string plain;
  for (int i = 0; i < 50000; ++i) plain += std::to_string(i * 7919 % 100003) + "\n";
  for (const std::string& whole : {gzipped(plain), zstd(plain)}) {
    base::write_file(folder / "cut", whole.substr(0, whole.size() / 2));
    EXPECT_THAT(message_of<base::InputError>([&] { lines_of(folder / "cut"); }),
                testing::AllOf(testing::HasSubstr("cut"), testing::HasSubstr("ends too early")));
    std::string flipped = whole;
    flipped[flipped.size() / 2] ^= 0x55;
    flipped[flipped.size() / 2 + 1] ^= 0x55;
    base::write_file(folder / "flipped", flipped);
    // zlib checks a sum at the end; zstd without one may only notice broken structure.
    if (whole.starts_with("\x1F")) {
      EXPECT_THAT(message_of<base::InputError>([&] { lines_of(folder / "flipped"); }),
                  testing::HasSubstr("damaged"));
    }
  }
  EXPECT_THAT(message_of<base::InputError>([&] { lines_of(folder / "absent"); }),
              testing::HasSubstr("absent"));
}

TEST(MatchingFiles, PatternsAndGroups) {
  test::ScratchFolder folder;
  for (const char* name : {"b.jsonl.zst", "a.jsonl", "c.jsonl.gz", "a.txt"})
    base::write_file(folder / name, "");
  std::filesystem::create_directory(folder / "d.jsonl");
  const auto names = [&](const std::string& pattern) {
    std::vector<std::string> result;
    for (const auto& path : matching_files((folder / pattern).string()))
      result.push_back(path.filename());
    return result;
  };
  using Names = std::vector<std::string>;
  EXPECT_EQ(names("*.jsonl(.gz|.zst)"), (Names{"a.jsonl", "b.jsonl.zst", "c.jsonl.gz"}));
  EXPECT_EQ(names("*.jsonl*"), (Names{"a.jsonl", "b.jsonl.zst", "c.jsonl.gz"}));
  EXPECT_EQ(names("[ab].jsonl"), Names{"a.jsonl"});
  EXPECT_EQ(names("x*"), Names{});
}

TEST(ReadText, GivesTheBytesOfPlainGzipAndZstdAlike) {
  test::ScratchFolder folder;
  std::string text = "First line\r\n\n  third\tline \n";
  for (int i = 0; i < 100000; ++i)
    text += std::to_string(std::int64_t{i} * i % 7919) + (i % 11 ? " " : "\n");
  text += "\xEF\xBB\xBF no line break at the end";
  base::write_file(folder / "plain", text);
  base::write_file(folder / "gzip", gzipped(text));
  base::write_file(folder / "zstd", zstd(text));
  base::write_file(folder / "marked", "\xEF\xBB\xBF" + text);
  for (const char* name : {"plain", "gzip", "zstd", "marked"})
    EXPECT_EQ(read_text(folder / name), text) << name;
  base::write_file(folder / "empty", "");
  EXPECT_EQ(read_text(folder / "empty"), "");
  base::write_file(folder / "cut", zstd(text).substr(0, 3000));
  EXPECT_THAT(message_of<base::InputError>([&] { read_text(folder / "cut"); }),
              testing::HasSubstr("ends too early"));
}

TEST(DocumentParser, TakesTheField) {
  DocumentParser parser("text");
  ASSERT_TRUE(parser.parse(R"({"id": 1, "text": "a \"b\" \u00e9\n", "more": [{}]})"));
  EXPECT_EQ(parser.text(), "a \"b\" é\n");
  ASSERT_TRUE(parser.parse(R"({"text": ""})"));
  EXPECT_EQ(parser.text(), "");
}

TEST(DocumentParser, SaysWhatIsWrong) {
  DocumentParser parser("text");
  EXPECT_FALSE(parser.parse(R"({"body": "x", "url": "y"})"));
  EXPECT_EQ(parser.problem(), "no field \"text\"; the line has: body, url");
  EXPECT_FALSE(parser.parse(R"({"text": 7})"));
  EXPECT_EQ(parser.problem(), "field \"text\" is not a string");
  EXPECT_FALSE(parser.parse("[1, 2]"));
  EXPECT_THAT(parser.problem(), testing::HasSubstr("not a JSON object"));
  EXPECT_FALSE(parser.parse(R"({"text": "cut off)"));
  EXPECT_THAT(parser.problem(), testing::HasSubstr("not a JSON object"));
  EXPECT_GT(parser.column(), 10);
  EXPECT_FALSE(parser.not_utf8());
  EXPECT_FALSE(parser.parse("{\"text\": \"ab\xC3(\"}"));
  EXPECT_EQ(parser.problem(), "byte 0xC3 is not UTF-8");
  EXPECT_EQ(parser.column(), 13);
  EXPECT_TRUE(parser.not_utf8());
  EXPECT_TRUE(parser.parse(R"({"text": "after an error"})"));
  EXPECT_EQ(at_line("f.jsonl", 3, 13, "bad"), "f.jsonl:3:13: bad");
  EXPECT_EQ(at_line("f.jsonl", 3, 0, "bad"), "f.jsonl:3: bad");
}

}  // namespace
}  // namespace eyrie::data_pipeline
