// Documents from JSONL files, one JSON object a line, or from plain text, one document a file: as
// they are, or compressed by gzip (.gz) or zstd (.zst).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/file.h"
#include "base/file_input.h"

namespace eyrie::data_pipeline {

// Bytes that a line or a text may have, unless DATA.yaml says otherwise.
constexpr std::size_t kLargestDocument = std::size_t{1} << 30;

// The lines of one file, in order. Not thread-safe.
class LineReader {
 public:
  // InputError: not there, a folder, a pipe, another kind of file than its name says, not lines of
  // text in UTF-8 (UTF-16, binary data, one JSON list): base/file_kind.h.
  explicit LineReader(const base::Path& path, std::size_t longest = kLargestDocument);
  // The next line without its line break, valid until the next call; false at the end. Blank lines
  // are counted and passed over, and so is a byte order mark at the start of the file. InputError:
  // cut off or damaged compressed data.
  bool next(std::string_view& line);
  std::int64_t number() const { return number_; }  // of the line that next() gave, from 1
  std::string problem() const;  // with that line; empty: none. With one, the line is empty
  std::uint64_t consumed() const { return input_.consumed(); }  // bytes of the file, so far
  const base::Path& path() const { return path_; }

 private:
  bool more();  // appends decompressed bytes to the buffer; false at the end

  base::Path path_;
  std::size_t longest_;
  base::FileInput input_;
  std::string buffer_;
  std::size_t begin_ = 0;     // first byte of the buffer that no line has taken
  std::size_t searched_ = 0;  // from begin_ up to here there is no line break
  std::int64_t number_ = 0;
  bool too_long_ = false;
};

// A plain-text file as one document: all its bytes, line breaks as they are, but without a byte
// order mark at the start. `problem` says why the file is none (too large, UTF-16, binary data); it
// is empty where it is one. InputError: as with LineReader.
std::string read_text(const base::Path& path, std::size_t largest, std::string& problem);

// The first byte that is not UTF-8; text.size() where all are.
std::size_t first_broken_byte(std::string_view text);

// Takes the text out of a line. Not thread-safe; one a thread.
class DocumentParser {
 public:
  explicit DocumentParser(std::string field);

  // True: text() is the document, valid until the next call. False: problem() says what is wrong
  // with the line. Only the text is read: other fields may hold whatever JSON allows.
  bool parse(std::string_view line);
  std::string_view text() const { return text_; }
  const std::string& problem() const { return problem_; }
  // Of the problem, in bytes from 1; 0: the line as a whole.
  std::int64_t column() const { return column_; }
  // The problem is a byte that is not UTF-8, or half of a surrogate pair in the text.
  bool not_utf8() const { return not_utf8_; }

 private:
  std::string field_, text_, problem_;
  std::int64_t column_ = 0;
  bool not_utf8_ = false;
};

// "data/web.jsonl:12:34: problem", or without the column where there is none.
std::string at_line(const base::Path& path, std::int64_t line, std::int64_t column,
                    const std::string& problem);

}  // namespace eyrie::data_pipeline
