// JSON as it is written: a text is checked as a whole against the grammar, and only what is asked
// for is converted. So a number that fits no type, or half of a surrogate pair, does no harm in a
// field that nobody reads.
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
  std::size_t at() const { return at_; }       // bytes from the beginning of the text
  bool not_utf8() const { return not_utf8_; }  // it stands for no text in UTF-8

 private:
  std::size_t at_;
  bool not_utf8_;
};

constexpr std::size_t kDeepestJson = 1024;  // lists and objects inside of each other

// One value of a text, which must outlive it.
class JsonText {
 public:
  enum class Kind { kNull, kBoolean, kNumber, kString, kList, kObject };

  // The value that the whole text is, with nothing but blanks around it. JsonError: not JSON (RFC
  // 8259), not UTF-8, deeper than kDeepestJson. Numbers may be of any size, and escapes may be
  // halves of surrogate pairs.
  static JsonText parse(std::string_view text);

  Kind kind() const;
  std::string kind_name() const;                 // "an object", "a list", "a text", …
  std::string_view raw() const { return raw_; }  // as it is written
  std::size_t at() const { return raw_.data() - whole_.data(); }

  // Of a string: the text that it stands for. JsonError (not_utf8): half of a surrogate pair in it;
  // with `keep_halves` each becomes the three bytes that UTF-8 has no use for.
  std::string text(bool keep_halves = false) const;

  // Of a list.
  std::vector<JsonText> elements() const;

  // Of an object, in order: each key and value; a key may come twice.
  void each(const std::function<void(std::string key, const JsonText& value)>& visit) const;
  // Of an object. JsonError: the key is there twice.
  std::optional<JsonText> find(std::string_view key) const;

 private:
  JsonText(std::string_view whole, std::string_view raw) : whole_(whole), raw_(raw) {}
  void each_raw(const std::function<void(const JsonText& key, const JsonText& value)>& visit) const;

  std::string_view whole_, raw_;
};

// A file with one JSON object, as a text that every parser reads: no key of an object twice,
// numbers beyond a double's range as the largest there is, halves of surrogate pairs as U+FFFD.
// InputError names file, line and column, or what else the file is.
std::string read_json_object(const std::string& path);

}  // namespace eyrie::base
