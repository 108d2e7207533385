// Reads documents from JSONL files (one JSON object per line) or plain text (one document per
// file), uncompressed or compressed with gzip (.gz) or zstd (.zst).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/file.h"
#include "base/file_input.h"

namespace eyrie::data_pipeline {

// The largest line or plain-text file, in bytes, unless DATA.yaml says otherwise.
constexpr std::size_t kLargestDocument = std::size_t{1} << 30;

// The lines of one file, in order. Not thread-safe.
class LineReader {
 public:
  // Throws InputError if the file is missing, is a folder or a pipe, is of another kind than its
  // name says, or does not hold lines of UTF-8 text (UTF-16, binary data, one JSON list): see
  // base/file_kind.h.
  explicit LineReader(const base::Path& path, std::size_t longest = kLargestDocument);
  // Reads the next line, without its line break; it is valid until the next call. Returns false at
  // the end. Blank lines are skipped but counted in number(); a byte order mark at the start of the
  // file is skipped. Throws InputError if compressed data is cut off or damaged.
  bool next(std::string_view& line);
  std::int64_t number() const { return number_; }  // of the line that next() returned, from 1
  // What is wrong with that line, or empty. If there is a problem, the line itself is empty.
  std::string problem() const;
  std::uint64_t consumed() const { return input_.consumed(); }  // bytes of the file read so far
  const base::Path& path() const { return path_; }

 private:
  bool more();  // appends decompressed bytes to the buffer; false at the end

  base::Path path_;
  std::size_t longest_;
  base::FileInput input_;
  std::string buffer_;
  std::size_t begin_ = 0;     // first byte of the buffer that is not yet part of a line
  std::size_t searched_ = 0;  // there is no line break from begin_ up to here
  std::int64_t number_ = 0;
  bool too_long_ = false;
};

// Reads a plain-text file as one document: all of its bytes, with line breaks as they are, without
// a byte order mark at the start. Sets `problem` to the reason why the file is not a document (too
// large, UTF-16, binary data), or to "". Throws InputError as LineReader does.
std::string read_text(const base::Path& path, std::size_t largest, std::string& problem);

// Returns the position of the first byte that is not UTF-8, or text.size() if all of them are.
std::size_t first_broken_byte(std::string_view text);

// Extracts the text from a JSON line. Not thread-safe; use one per thread.
class DocumentParser {
 public:
  explicit DocumentParser(std::string field);

  // If true, text() is the document, valid until the next call. If false, problem() says what is
  // wrong with the line. Only the text field is read; other fields may hold any JSON.
  bool parse(std::string_view line);
  std::string_view text() const { return text_; }
  const std::string& problem() const { return problem_; }
  // Where the problem is, in bytes from 1; 0: the line as a whole.
  std::int64_t column() const { return column_; }
  // Whether the problem is a byte that is not UTF-8, or half of a surrogate pair in the text.
  bool not_utf8() const { return not_utf8_; }

 private:
  std::string field_, text_, problem_;
  std::int64_t column_ = 0;
  bool not_utf8_ = false;
};

// "data/web.jsonl:12:34: problem"; without the column if it is 0.
std::string at_line(const base::Path& path, std::int64_t line, std::int64_t column,
                    const std::string& problem);

}  // namespace eyrie::data_pipeline
