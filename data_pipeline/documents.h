// Documents from JSONL files, one JSON object a line, or from plain text, one document a file: as
// they are, or compressed by gzip or zstd (told by the first bytes, not by the name).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"

namespace eyrie::data_pipeline {

// The files that match, sorted by name. `*`, `?` and `[…]` as in a shell; a group "(.gz|.zst)"
// stands for nothing or one of its alternatives. Empty where nothing matches.
std::vector<base::Path> matching_files(const std::string& pattern);

struct FileInput;  // a file and, if it is compressed, the state of its library

// The lines of one file, in order. InputError: not there, cut off or damaged compressed data. Not
// thread-safe.
class LineReader {
 public:
  explicit LineReader(const base::Path& path);
  ~LineReader();
  // The next line without its line break, valid until the next call; false at the end. Blank lines
  // are counted and passed over, and so is a byte order mark at the start of the file.
  bool next(std::string_view& line);
  std::int64_t number() const { return number_; }  // of the line that next() gave, from 1
  std::uint64_t consumed() const;  // bytes of the file read so far, as it lies on disk
  const base::Path& path() const { return path_; }

 private:
  bool more();  // appends decompressed bytes to the buffer; false at the end

  base::Path path_;
  std::unique_ptr<FileInput> input_;
  std::string buffer_;
  std::size_t begin_ = 0;     // first byte of the buffer that no line has taken
  std::size_t searched_ = 0;  // from begin_ up to here there is no line break
  std::int64_t number_ = 0;
};

// A plain-text file as one document: all its bytes, line breaks as they are, but without a byte
// order mark at the start. InputError: as with LineReader; larger than kLargestText.
constexpr std::size_t kLargestText = std::size_t{1} << 30;
std::string read_text(const base::Path& path);

// The first byte that is not UTF-8; text.size() where all are.
std::size_t first_broken_byte(std::string_view text);

// Takes the text out of a line. Not thread-safe; one a thread.
class DocumentParser {
 public:
  explicit DocumentParser(std::string field);
  ~DocumentParser();

  // True: text() is the document, valid until the next call. False: problem() says what is wrong
  // with the line.
  bool parse(std::string_view line);
  std::string_view text() const { return text_; }
  const std::string& problem() const { return problem_; }
  std::int64_t column() const {
    return column_;
  }  // of the problem, in bytes from 1; 0: the line as a whole
  bool not_utf8() const { return not_utf8_; }  // the problem is a byte that is not UTF-8

 private:
  bool fail(std::string problem, std::int64_t column);

  struct Parser;
  std::unique_ptr<Parser> parser_;
  std::string field_;
  std::string_view text_;
  std::string problem_;
  std::int64_t column_ = 0;
  bool not_utf8_ = false;
};

// "data/web.jsonl:12:34: problem", or without the column where there is none.
std::string at_line(const base::Path& path, std::int64_t line, std::int64_t column,
                    const std::string& problem);

}  // namespace eyrie::data_pipeline
