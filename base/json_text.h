// JSON as it is written: a text is checked against the grammar as a whole, but only the values that
// are asked for are converted. So a number that fits no type, or half a surrogate pair, does no
// harm in a field that nobody reads.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace eyrie::base {

// What is wrong with a JSON text, and where.
class JsonError : public InputError {
 public:
  JsonError(const std::string& what, std::size_t at, bool not_utf8)
      : InputError(what), at_(at), not_utf8_(not_utf8) {}
  std::size_t at() const { return at_; }       // byte offset in the text
  bool not_utf8() const { return not_utf8_; }  // the text cannot be represented in UTF-8

 private:
  std::size_t at_;
  bool not_utf8_;
};

constexpr std::size_t kDeepestJson = 1024;  // nesting of lists and objects

// One value in a JSON text. The text must outlive it.
class JsonText {
 public:
  enum class Kind { kNull, kBoolean, kNumber, kString, kList, kObject };

  // Parses a text that is one value, with only white space around it. Throws JsonError: not JSON
  // (RFC 8259), not UTF-8, or deeper than kDeepestJson. Numbers may be of any size, and escapes may
  // be halves of surrogate pairs.
  static JsonText parse(std::string_view text);

  Kind kind() const;
  std::string kind_name() const;                 // "an object", "a list", "a text", …
  std::string_view raw() const { return raw_; }  // as written
  std::size_t at() const { return raw_.data() - whole_.data(); }

  // For a string: its decoded text. Throws JsonError (not_utf8) if it has half a surrogate pair;
  // with `keep_halves` each half becomes the three bytes that would encode it, which are not valid
  // UTF-8.
  std::string text(bool keep_halves = false) const;

  // For a list.
  std::vector<JsonText> elements() const;

  // For an object: visits each key and value in order. A key may occur twice.
  void each(const std::function<void(std::string key, const JsonText& value)>& visit) const;
  // For an object. Throws JsonError if the key occurs twice.
  std::optional<JsonText> find(std::string_view key) const;

 private:
  JsonText(std::string_view whole, std::string_view raw) : whole_(whole), raw_(raw) {}
  void each_raw(const std::function<void(const JsonText& key, const JsonText& value)>& visit) const;

  std::string_view whole_, raw_;
};

// Reads a file with one JSON object and returns it as a text that every parser can read: without
// duplicate keys, with numbers beyond a double's range as the largest double, and with halves of
// surrogate pairs as U+FFFD. Throws InputError naming file, line and column, or what else the file
// is.
std::string read_json_object(const std::string& path);

}  // namespace eyrie::base
