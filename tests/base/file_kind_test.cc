// Kinds of files by their first bytes and their names.
#include "base/file_kind.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/file.h"
#include "support/scratch_folder.h"

namespace eyrie::base {
namespace {

using namespace std::string_view_literals;
using test::message_of;
using testing::AllOf;
using testing::HasSubstr;

std::string wide(std::string_view text, std::size_t before, std::size_t behind) {
  std::string out;
  for (const char c : text) out += std::string(before, '\0') + c + std::string(behind, '\0');
  return out;
}

TEST(NotText, NamesWhatItIs) {
  const std::string line = "{\"text\": \"a line of text\"}\n";
  EXPECT_EQ(not_text(line), "");
  EXPECT_EQ(not_text(""), "");
  EXPECT_EQ(not_text("\xEF\xBB\xBF" + line), "");
  EXPECT_EQ(not_text("a\tb\r\n\f\x1B[1m"), "");
  EXPECT_EQ(not_text(std::string("one zero byte \0 in a long text", 30)), "");
  EXPECT_THAT(not_text(wide(line, 0, 1)), AllOf(HasSubstr("UTF-16LE text"), HasSubstr("iconv")));
  EXPECT_THAT(not_text(wide(line, 1, 0)), HasSubstr("UTF-16BE text"));
  EXPECT_THAT(not_text(wide(line, 0, 3)), HasSubstr("UTF-32LE text"));
  EXPECT_THAT(not_text(wide(line, 3, 0)), HasSubstr("UTF-32BE text"));
  EXPECT_THAT(not_text("\xFF\xFE" + wide(line, 0, 1)), HasSubstr("UTF-16 text"));
  EXPECT_THAT(not_text("\xFE\xFF" + wide(line, 1, 0)), HasSubstr("UTF-16 text"));
  EXPECT_THAT(not_text("\xFF\xFE\0\0"sv), HasSubstr("UTF-32 text"));
  EXPECT_THAT(not_text("\x1F\x8B\x08"), HasSubstr("a gzip file"));
  EXPECT_THAT(not_text("\x28\xB5\x2F\xFD"), HasSubstr("a zstd file"));
  EXPECT_THAT(not_text("PK\x03\x04"), HasSubstr("a zip archive"));
  EXPECT_THAT(not_text("\x89PNG\r\n\x1A\n"), HasSubstr("a PNG image"));
  EXPECT_THAT(not_text("name" + std::string(253, '\0') + "ustar"), HasSubstr("a tar archive"));
  EXPECT_THAT(not_text(std::string(100, '\0')), HasSubstr("binary data"));
}

TEST(NotJsonLines, NamesAList) {
  for (const char* list : {"[{\"a\": 1}]", "\xEF\xBB\xBF [\n\n  {", "[\n"})
    EXPECT_THAT(not_json_lines(list), HasSubstr("one JSON list of objects"));
  for (const char* lines : {"", "{\"a\": []}", "[1, 2]\n", "[]"})
    EXPECT_EQ(not_json_lines(lines), "");
  EXPECT_THAT(not_json_lines("\xFF\xFE["), HasSubstr("UTF-16"));
}

TEST(CompressionOf, NameAndBytesSayTheSame) {
  constexpr std::string_view kGzip = "\x1F\x8B\x08", kZstd = "\x28\xB5\x2F\xFD",
                             kSkippable = "\x50\x2A\x4D\x18", kXz = "\xFD\x37\x7A\x58\x5A\x00"sv,
                             kText = "{\"text\": \"x\"}\n";
  EXPECT_EQ(compression_of("a.jsonl", kText), Compression::kNone);
  EXPECT_EQ(compression_of("a", ""), Compression::kNone);
  EXPECT_EQ(compression_of("a.jsonl.gz", kGzip), Compression::kGzip);
  EXPECT_EQ(compression_of("a.GZ", kGzip), Compression::kGzip);
  EXPECT_EQ(compression_of("a.zst", kZstd), Compression::kZstd);
  EXPECT_EQ(compression_of("a.zst", kSkippable), Compression::kZstd);
  const auto message = [](const std::string& path, std::string_view bytes) {
    return message_of<InputError>([&] { compression_of(path, bytes); });
  };
  EXPECT_EQ(message("a.gz", kText),
            "a.gz: its name says that it is a gzip file, but it does not begin like one; rename it "
            "if it is not compressed, or copy it again");
  EXPECT_THAT(message("a.gz", ""), HasSubstr("it is empty"));
  EXPECT_THAT(message("a.gz", kZstd), HasSubstr("it is a zstd file; rename it to .zst"));
  EXPECT_THAT(message("a.zst", kGzip), HasSubstr("it is a gzip file; rename it to .gz"));
  EXPECT_THAT(message("a.zst", ""), HasSubstr("it is empty"));
  EXPECT_THAT(message("a.zst", kXz), HasSubstr("it is an xz file"));
  EXPECT_THAT(message("a.jsonl", kGzip), HasSubstr("the ending .gz"));
  EXPECT_THAT(message("a.jsonl", kZstd), HasSubstr("the ending .zst"));
  EXPECT_THAT(message("a.jsonl", kXz), HasSubstr("an xz file, which is not read here"));
  for (const char* ending : {"xz", "bz2", "lz4", "br", "zip", "parquet", "7z", "tar", "Z"})
    EXPECT_THAT(message(std::string("a.jsonl.") + ending, kText), HasSubstr("not read here"));
}

TEST(CheckRegularFile, RefusesFoldersAndPipes) {
  test::ScratchFolder folder;
  write_file(folder / "file", "");
  check_regular_file((folder / "file").string());
  check_regular_file((folder / "absent").string());
  EXPECT_THAT(message_of<InputError>([&] { check_regular_file(folder.path().string()); }),
              HasSubstr("a folder, where a file is expected; name its files: "));
  ASSERT_EQ(mkfifo((folder / "pipe").c_str(), 0600), 0);
  EXPECT_THAT(message_of<InputError>([&] { check_regular_file((folder / "pipe").string()); }),
              HasSubstr("a pipe or a device"));
}

}  // namespace
}  // namespace eyrie::base
