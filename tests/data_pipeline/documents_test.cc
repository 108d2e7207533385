#include "data_pipeline/documents.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>
#include <zstd.h>

#include "base/error.h"
#include "data_pipeline/file_patterns.h"
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

// With a window of 2^log bytes, whatever the size of the text.
std::string zstd_with_window(const std::string& plain, int log) {
  ZSTD_CCtx* context = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, log);
  ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, 0);
  std::string out(ZSTD_compressBound(plain.size()) + 64, '\0');
  ZSTD_inBuffer in{plain.data(), plain.size(), 0};
  ZSTD_outBuffer to{out.data(), out.size(), 0};
  while (ZSTD_compressStream2(context, &to, &in, ZSTD_e_flush) != 0) {
  }
  while (ZSTD_compressStream2(context, &to, &in, ZSTD_e_end) != 0) {
  }
  ZSTD_freeCCtx(context);
  out.resize(to.pos);
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
  base::write_file(folder / "a.gz", gzipped(plain));
  base::write_file(folder / "a.zst", zstd(plain));
  base::write_file(folder / "members.gz",
                   gzipped(plain.substr(0, 5000)) + gzipped("") + gzipped(plain.substr(5000)));
  base::write_file(folder / "padded.gz", gzipped(plain.substr(0, 5000)) + std::string(700, '\0') +
                                             gzipped(plain.substr(5000)) +
                                             std::string(3 << 20, '\0'));
  base::write_file(folder / "frames.zst",
                   zstd(plain.substr(0, 70000)) + zstd("") + zstd(plain.substr(70000)));
  const std::string skippable("\x50\x2A\x4D\x18\x04\0\0\0abcd", 12);
  base::write_file(folder / "skippable.zst", skippable + zstd(plain.substr(0, 70000)) + skippable +
                                                 zstd(plain.substr(70000)) + skippable);
  base::write_file(folder / "window.zst", zstd_with_window(plain, 29));
  const auto lines = lines_of(folder / "plain");
  ASSERT_EQ(lines.size(), 202u);
  EXPECT_EQ(lines[0], (std::pair<std::int64_t, std::string>(1, "a")));
  EXPECT_EQ(lines[200].second.size(), std::size_t{3} << 20);
  EXPECT_EQ(lines[201], (std::pair<std::int64_t, std::string>(204, "last line")));
  for (const char* name :
       {"a.gz", "a.zst", "members.gz", "padded.gz", "frames.zst", "skippable.zst", "window.zst"})
    EXPECT_EQ(lines_of(folder / name), lines) << name;
}

TEST(LineReader, SizesAtTheBuffersBorder) {
  test::ScratchFolder folder;
  for (const int size : {(1 << 20) - 1, 1 << 20, (1 << 20) + 1, 2 << 20}) {
    const std::string plain = std::string(size - 1, 'y') + "\n";
    base::write_file(folder / "file", plain);
    base::write_file(folder / "file.gz", gzipped(plain));
    base::write_file(folder / "file.zst", zstd(plain));
    for (const char* name : {"file", "file.gz", "file.zst"}) {
      const auto lines = lines_of(folder / name);
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
  const auto message = [&](const std::string& name, const std::string& bytes) {
    base::write_file(folder / name, bytes);
    return message_of<base::InputError>([&] { lines_of(folder / name); });
  };
  for (const auto& [whole, ending] :
       {std::pair(gzipped(plain), ".gz"), std::pair(zstd(plain), ".zst")}) {
    for (const std::size_t size : {whole.size() / 2, whole.size() - 1, std::size_t{5}})
      EXPECT_THAT(message(std::string("cut") + ending, whole.substr(0, size)),
                  testing::AllOf(testing::HasSubstr("cut"), testing::HasSubstr("ends too early")));
    EXPECT_THAT(message(std::string("twice") + ending, whole + whole.substr(0, 3)),
                testing::HasSubstr("ends too early"));
    EXPECT_THAT(message(std::string("more") + ending, whole + "more"),
                testing::HasSubstr("follows its"));
    std::string flipped = whole;
    flipped[flipped.size() / 2] ^= 0x55;
    flipped[flipped.size() / 2 + 1] ^= 0x55;
    base::write_file(folder / (std::string("flipped") + ending), flipped);
    // zlib checks a sum at the end; zstd without one may only notice broken structure.
    if (whole.starts_with("\x1F")) {
      EXPECT_THAT(message_of<base::InputError>([&] { lines_of(folder / "flipped.gz"); }),
                  testing::HasSubstr("damaged"));
    }
  }
  EXPECT_THAT(message_of<base::InputError>([&] { lines_of(folder / "absent"); }),
              testing::HasSubstr("absent"));
}

TEST(LineReader, NamesWhatIsNoFileOfLines) {
  test::ScratchFolder folder;
  const auto message = [&](const std::string& name, const std::string& bytes) {
    base::write_file(folder / name, bytes);
    return message_of<base::InputError>([&] { lines_of(folder / name); });
  };
  const std::string line = "{\"text\": \"x\"}\n";
  EXPECT_THAT(message("a.jsonl", gzipped(line)),
              testing::HasSubstr("give its name the ending .gz"));
  EXPECT_THAT(message("a.jsonl.gz", line), testing::HasSubstr("does not begin like one"));
  EXPECT_THAT(message("a.jsonl.gz", ""), testing::HasSubstr("it is empty"));
  EXPECT_THAT(message("a.jsonl.xz", line), testing::HasSubstr("an xz file, which is not read"));
  EXPECT_THAT(message("twice.gz", gzipped(gzipped(line))), testing::HasSubstr("a gzip file"));
  EXPECT_THAT(message("a.jsonl", "\xFF\xFE" + line), testing::HasSubstr("UTF-16"));
  EXPECT_THAT(message("b.gz", gzipped("\xFF\xFE" + line)), testing::HasSubstr("UTF-16"));
  for (const char* list : {"[{\"text\": 1}]", "\xEF\xBB\xBF[\n  {\"text\": 1},\n", " [ {"})
    EXPECT_THAT(message("list.json", list),
                testing::AllOf(testing::HasSubstr("one JSON list of objects"),
                               testing::HasSubstr("jq -c '.[]'")));
  EXPECT_EQ(message("rows.jsonl", "[1, 2]\n[3]\n"), "nothing was thrown");  // bad lines
  EXPECT_THAT(message("zeros", std::string(1000, '\0')), testing::HasSubstr("binary data"));
  EXPECT_THAT(message_of<base::InputError>([&] { lines_of(folder.path()); }),
              testing::HasSubstr("a folder, where a file is expected"));
}

TEST(LineReader, LinesThatAreTooLongAreNotKept) {
  test::ScratchFolder folder;
  const std::string long_line(5 << 20, 'x');
  base::write_file(folder / "a.gz",
                   gzipped("1\n" + long_line + "\n3\n1234567\n12345678\n" + long_line));
  LineReader reader(folder / "a.gz", 7);
  std::string found;
  for (std::string_view line; reader.next(line);)
    found += fmt::format("{}:{}{} ", reader.number(), line, reader.problem().empty() ? "" : "!");
  EXPECT_EQ(found, "1:1 2:! 3:3 4:1234567 5:! 6:! ");
  EXPECT_EQ(reader.problem(), "");
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
  EXPECT_EQ(names("(a|b|x).jsonl(.gz|.zst)"), (Names{"a.jsonl", "b.jsonl.zst"}));
  EXPECT_EQ(names("(a.(txt|csv)|c*)"), (Names{"a.txt", "c.jsonl.gz"}));
  const auto message = [&](const std::string& pattern) {
    return message_of<base::InputError>([&] { names(pattern); });
  };
  EXPECT_EQ(message("x*"), "no file matches " + (folder / "x*").string());
  EXPECT_THAT(message("{a,b}.jsonl"), testing::HasSubstr("alternatives are written (a|b)"));
  EXPECT_THAT(message("d.jsonl"), testing::HasSubstr("a folder, where a file is expected"));
  EXPECT_THAT(message("d*"), testing::HasSubstr("a folder, where a file is expected"));
}

TEST(MatchingFiles, WhatIsThereUnderExactlyThatNameIsMeant) {
  test::ScratchFolder folder;
  const std::string odd[] = {"data (copy)", "data [v1]", "a b",   "star*", "what?",
                             "back\\slash", "(a|b)",     "{x,y}", "data1", "data v"};
  for (const std::string& name : odd) {
    std::filesystem::create_directory(folder / name);
    for (const char* file : {"one.jsonl", "two.jsonl.gz", "[3].jsonl"})
      base::write_file(folder / name / file, "");
  }
  const auto count = [&](const std::string& pattern) {
    return matching_files((folder / pattern).string()).size();
  };
  for (const std::string& name : odd) {
    EXPECT_EQ(count(name + "/one.jsonl"), 1u) << name;
    EXPECT_EQ(count(name + "/[3].jsonl"), 1u) << name;
    EXPECT_EQ(count(name + "/*.jsonl"), 2u) << name;
    EXPECT_EQ(count(name + "/*.jsonl(.gz)"), 3u) << name;
    // Every character that means something else may be escaped.
    std::string escaped;
    for (const char c : name + "/*.jsonl") {
      if (std::string("()[]|*?\\{},").find(c) != std::string::npos) escaped += '\\';
      escaped += c;
    }
    escaped.erase(escaped.rfind('\\'), 1);  // but for the star at the end
    EXPECT_EQ(count(escaped), 2u) << escaped;
  }
  EXPECT_EQ(count("data */one.jsonl"), 3u);
  EXPECT_EQ(count("data[ 1]*/one.jsonl"), 4u);
}

TEST(ReadText, GivesTheBytesOfPlainGzipAndZstdAlike) {
  test::ScratchFolder folder;
  std::string text = "First line\r\n\n  third\tline \n";
  for (int i = 0; i < 100000; ++i)
    text += std::to_string(std::int64_t{i} * i % 7919) + (i % 11 ? " " : "\n");
  text += "\xEF\xBB\xBF no line break at the end";
  base::write_file(folder / "plain", text);
  base::write_file(folder / "a.gz", gzipped(text));
  base::write_file(folder / "a.zst", zstd(text));
  base::write_file(folder / "marked", "\xEF\xBB\xBF" + text);
  std::string problem;
  const auto read = [&](const std::string& name, std::size_t largest = kLargestDocument) {
    return read_text(folder / name, largest, problem);
  };
  for (const char* name : {"plain", "a.gz", "a.zst", "marked"}) {
    EXPECT_EQ(read(name), text) << name;
    EXPECT_EQ(problem, "");
  }
  base::write_file(folder / "empty", "");
  EXPECT_EQ(read("empty"), "");
  base::write_file(folder / "cut.zst", zstd(text).substr(0, 3000));
  EXPECT_THAT(message_of<base::InputError>([&] { read("cut.zst"); }),
              testing::HasSubstr("ends too early"));
  EXPECT_EQ(read("plain", text.size()), text);
  read("plain", text.size() - 1);
  EXPECT_THAT(problem, testing::HasSubstr("largest_document"));
  base::write_file(folder / "wide", "\xFF\xFE" + text);
  read("wide");
  EXPECT_THAT(problem, testing::HasSubstr("UTF-16 text"));
}

TEST(DocumentParser, TakesTheField) {
  DocumentParser parser("text");
  ASSERT_TRUE(parser.parse(R"({"id": 1, "text": "a \"b\" \u00e9\n", "more": [{}]})"));
  EXPECT_EQ(parser.text(), "a \"b\" é\n");
  ASSERT_TRUE(parser.parse(R"({"text": ""})"));
  EXPECT_EQ(parser.text(), "");
}

TEST(DocumentParser, WhatNobodyReadsDoesNoHarm) {
  DocumentParser parser("text");
  for (const char* more :
       {"123456789012345678901234567890", "18446744073709551616", "1e400", "-1E-9999", "[1e400]",
        R"("half of a pair: \ud83d")", R"({"text": 1, "text": "\udc00"})", R"(1, "id": 2)"}) {
    ASSERT_TRUE(parser.parse(std::string(R"({"text": "read", "id": )") + more + "}")) << more;
    EXPECT_EQ(parser.text(), "read");
  }
  EXPECT_TRUE(parser.parse(R"({"\ud83d": 1, "text": "x"})"));
  EXPECT_FALSE(parser.parse(R"({"text": "x", "id": 01})"));
  EXPECT_FALSE(parser.parse(R"({"text": "x", "id": tru})"));
  // In what is read it is told.
  EXPECT_FALSE(parser.parse(R"({"text": "smile \ud83d end"})"));
  EXPECT_THAT(parser.problem(), testing::HasSubstr("\\ud83d is half of a surrogate pair"));
  EXPECT_EQ(parser.column(), 17);
  EXPECT_TRUE(parser.not_utf8());
  EXPECT_FALSE(parser.parse(R"({"text": "x", "t\u0065xt": "y"})"));
  EXPECT_EQ(parser.problem(), "the key \"text\" is there twice");
  EXPECT_FALSE(parser.not_utf8());
}

TEST(DocumentParser, SaysWhatIsWrong) {
  DocumentParser parser("text");
  EXPECT_FALSE(parser.parse(R"({"body": "x", "url": "y"})"));
  EXPECT_EQ(parser.problem(), "no field \"text\"; the line has: body, url");
  EXPECT_FALSE(parser.parse(R"({"text": 7})"));
  EXPECT_EQ(parser.problem(), "field \"text\" is not a string but a number");
  EXPECT_FALSE(parser.parse("[1, 2]"));
  EXPECT_THAT(parser.problem(), testing::HasSubstr("not a JSON object"));
  EXPECT_FALSE(parser.parse(R"({"text": "cut off)"));
  EXPECT_THAT(parser.problem(), testing::HasSubstr("not JSON: it ends too early"));
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
