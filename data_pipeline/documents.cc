// Reads lines and texts from files, and documents from lines.
#include "data_pipeline/documents.h"

#include <fmt/format.h>
#include <simdjson.h>
#include <unicode/utf8.h>

#include <algorithm>

#include "base/error.h"
#include "base/file_kind.h"
#include "base/json_text.h"

namespace eyrie::data_pipeline {
namespace {

using base::kByteOrderMark;

// The field names of an object, for an error message.
std::string keys_of(const base::JsonText& object) {
  constexpr std::size_t kLongest = 200;
  std::string keys;
  object.each([&](const std::string& key, const base::JsonText&) {
    if (keys.size() < kLongest) keys += (keys.empty() ? "" : ", ") + key;
  });
  if (keys.size() > kLongest) {
    std::size_t end = kLongest;
    while (end > 0 && (keys[end] & 0xC0) == 0x80) --end;
    keys = keys.substr(0, end) + " …";
  }
  return keys.empty() ? "none" : keys;
}

}  // namespace

LineReader::LineReader(const base::Path& path, std::size_t longest)
    : path_(path), longest_(longest), input_(path) {
  input_.read(buffer_);
  const std::string other = base::not_json_lines(buffer_);
  if (!other.empty()) throw base::InputError(fmt::format("{}: {}", path.string(), other));
}

bool LineReader::more() {
  buffer_.erase(0, begin_);
  searched_ -= begin_;
  begin_ = 0;
  // Nothing of a line that is too long is kept.
  if (buffer_.size() > longest_) {
    too_long_ = true;
    buffer_.clear();
    searched_ = 0;
  }
  return input_.read(buffer_);
}

bool LineReader::next(std::string_view& line) {
  too_long_ = false;
  for (;;) {
    std::size_t end = buffer_.find('\n', searched_);
    bool last = false;
    while (end == std::string::npos) {
      searched_ = buffer_.size();
      if (!more()) {
        last = true;
        end = buffer_.size();
        break;
      }
      end = buffer_.find('\n', searched_);
    }
    if (last && begin_ == buffer_.size() && !too_long_) return false;
    line = std::string_view(buffer_).substr(begin_, end - begin_);
    begin_ = searched_ = last ? end : end + 1;
    if (++number_ == 1 && line.starts_with(kByteOrderMark))
      line.remove_prefix(kByteOrderMark.size());
    too_long_ |= line.size() > longest_;
    if (too_long_) line = {};
    if (too_long_ || line.find_first_not_of(" \t\r") != std::string_view::npos) return true;
  }
}

std::string LineReader::problem() const {
  if (!too_long_) return "";
  return fmt::format("a line of more than {} bytes (largest_document)", longest_);
}

std::string read_text(const base::Path& path, std::size_t largest, std::string& problem) {
  base::FileInput input(path);
  std::string text;
  problem.clear();
  while (input.read(text))
    if (text.size() > largest) {
      problem = fmt::format(
          "a text of more than {} bytes (largest_document); cut it into several files", largest);
      return {};
    }
  problem = base::not_text(std::string_view(text).substr(0, 600));
  if (text.starts_with(kByteOrderMark)) text.erase(0, kByteOrderMark.size());
  return text;
}

std::size_t first_broken_byte(std::string_view text) {
  if (simdjson::validate_utf8(text.data(), text.size())) return text.size();
  const auto size = static_cast<std::int64_t>(text.size());
  std::int64_t at = 0, begin = 0;
  UChar32 c = 0;
  while (c >= 0 && at < size) {
    begin = at;
    U8_NEXT(text.data(), at, size, c);
  }
  return static_cast<std::size_t>(begin);
}

DocumentParser::DocumentParser(std::string field) : field_(std::move(field)) {}

bool DocumentParser::parse(std::string_view line) {
  problem_.clear();
  column_ = 0;
  not_utf8_ = false;
  try {
    const base::JsonText object = base::JsonText::parse(line);
    if (object.kind() != base::JsonText::Kind::kObject)
      throw base::JsonError(fmt::format("not a JSON object but {}", object.kind_name()), 0, false);
    const auto value = object.find(field_);
    if (value && value->kind() == base::JsonText::Kind::kString) {
      text_ = value->text();
      return true;
    }
    problem_ = value
                   ? fmt::format("field \"{}\" is not a string but {}", field_, value->kind_name())
                   : fmt::format("no field \"{}\"; the line has: {}", field_, keys_of(object));
  } catch (const base::JsonError& error) {
    problem_ = error.what();
    if (error.at() == line.size()) problem_ += "; an object stands on one line, whole";
    column_ = static_cast<std::int64_t>(error.at()) + 1;
    not_utf8_ = error.not_utf8();
  }
  return false;
}

std::string at_line(const base::Path& path, std::int64_t line, std::int64_t column,
                    const std::string& problem) {
  if (column == 0) return fmt::format("{}:{}: {}", path.string(), line, problem);
  return fmt::format("{}:{}:{}: {}", path.string(), line, column, problem);
}

}  // namespace eyrie::data_pipeline
