// A JSON scanner, and access to the values of a text that it has checked.
#include "base/json_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/utf8.h"

namespace eyrie::base {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// The value of 4 hexadecimal digits, or -1.
int hex4(std::string_view digits) {
  unsigned value = 0;
  if (digits.size() < 4) return -1;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + 4, value, 16);
  return error == std::errc() && end == digits.data() + 4 ? static_cast<int>(value) : -1;
}
bool is_high(int unit) { return unit >= 0xD800 && unit < 0xDC00; }
bool is_low(int unit) { return unit >= 0xDC00 && unit < 0xE000; }

struct Scanner {
  std::string_view text;
  std::size_t at = 0;

  [[noreturn]] void fail(const std::string& what) const {
    if (at >= text.size()) throw JsonError("not JSON: it ends too early", text.size(), false);
    throw JsonError("not JSON: " + what, at, false);
  }
  char here() const { return at < text.size() ? text[at] : '\0'; }
  void blanks() {
    while (at < text.size() &&
           (text[at] == ' ' || text[at] == '\n' || text[at] == '\r' || text[at] == '\t'))
      ++at;
  }
  void expect(char c, const char* what) {
    blanks();
    if (here() != c) fail(fmt::format("{} is expected here", what));
    ++at;
  }

  void character() {  // beyond ASCII
    const std::size_t length = utf8_length(text.substr(at));
    if (length == 0)
      throw JsonError(
          fmt::format("byte 0x{:02X} is not UTF-8", static_cast<unsigned char>(text[at])), at,
          true);
    at += length;
  }

  void escape() {
    constexpr std::string_view kEscapes = "\"\\/bfnrtu";
    ++at;
    const char c = here();
    if (at >= text.size() || kEscapes.find(c) == kEscapes.npos) fail("no escape has this letter");
    ++at;
    if (c != 'u') return;
    if (text.size() - at < 4) at = text.size();
    if (hex4(text.substr(at)) < 0) fail("four hexadecimal digits are expected here");
    at += 4;
  }

  void string() {
    ++at;
    while (at < text.size() && text[at] != '"') {
      const auto c = static_cast<unsigned char>(text[at]);
      if (c == '\\') {
        escape();
      } else if (c >= 0x80) {
        character();
      } else if (c < 0x20) {
        fail(fmt::format("a control character (0x{:02X}) inside of a string", c));
      } else {
        ++at;
      }
    }
    if (at >= text.size()) fail("");
    ++at;
  }

  void digits() {
    if (!is_digit(here())) fail("a digit is expected here");
    while (is_digit(here())) ++at;
  }
  void number() {
    if (here() == '-') ++at;
    if (here() == '0') {
      ++at;
    } else {
      digits();
    }
    if (here() == '.') {
      ++at;
      digits();
    }
    if (here() == 'e' || here() == 'E') {
      ++at;
      if (here() == '+' || here() == '-') ++at;
      digits();
    }
  }

  void word() {
    for (const std::string_view known : {"true", "false", "null"}) {
      if (!text.substr(at).starts_with(known)) continue;
      at += known.size();
      return;
    }
    for (const std::string_view known : {"true", "false", "null"})
      if (known.starts_with(text.substr(at))) at = text.size();
    fail("a value is expected here");
  }

  void key() {
    blanks();
    if (here() != '"') fail("a key in double quotes is expected here");
    string();
    expect(':', "':'");
  }

  // One value with everything inside it. Not recursive, because a text may consist of nothing but
  // brackets.
  void value() {
    std::string open;
    for (;;) {
      blanks();
      const char c = here();
      bool ended = true;
      if (c == '{' || c == '[') {
        if (open.size() == kDeepestJson)
          fail(fmt::format("nested more than {} levels deep", kDeepestJson));
        ++at;
        blanks();
        if (here() == (c == '{' ? '}' : ']')) {
          ++at;
        } else {
          open += c;
          if (c == '{') key();
          ended = false;
        }
      } else if (c == '"') {
        string();
      } else if (c == '-' || is_digit(c)) {
        number();
      } else {
        word();
      }
      while (ended) {
        if (open.empty()) return;
        const bool object = open.back() == '{';
        blanks();
        if (here() == ',') {
          ++at;
          if (object) key();
          ended = false;
        } else if (here() == (object ? '}' : ']')) {
          ++at;
          open.pop_back();
        } else {
          fail(object ? "',' or '}' is expected here" : "',' or ']' is expected here");
        }
      }
    }
  }
};

}  // namespace

JsonText JsonText::parse(std::string_view text) {
  Scanner scanner{text};
  scanner.blanks();
  const std::size_t begin = scanner.at;
  scanner.value();
  const std::size_t end = scanner.at;
  scanner.blanks();
  if (scanner.at != text.size()) scanner.fail("something follows the value");
  return {text, text.substr(begin, end - begin)};
}

JsonText::Kind JsonText::kind() const {
  switch (raw_.front()) {
    case '{':
      return Kind::kObject;
    case '[':
      return Kind::kList;
    case '"':
      return Kind::kString;
    case 't':
    case 'f':
      return Kind::kBoolean;
    case 'n':
      return Kind::kNull;
    default:
      return Kind::kNumber;
  }
}

std::string JsonText::kind_name() const {
  static const char* const kNames[] = {"null",   "true or false", "a number",
                                       "a text", "a list",        "an object"};
  return kNames[static_cast<int>(kind())];
}

std::string JsonText::text(bool keep_halves) const {
  const std::string_view inside = raw_.substr(1, raw_.size() - 2);
  std::string out;
  out.reserve(inside.size());
  for (std::size_t i = 0; i < inside.size();) {
    const std::size_t escape = std::min(inside.find('\\', i), inside.size());
    out.append(inside.substr(i, escape - i));
    i = escape;
    if (i == inside.size()) break;
    constexpr std::string_view kLetters = "bfnrt", kMeant = "\b\f\n\r\t";
    const char letter = inside[i + 1];
    if (letter != 'u') {
      const std::size_t known = kLetters.find(letter);
      out += known == kLetters.npos ? letter : kMeant[known];
      i += 2;
      continue;
    }
    const int unit = hex4(inside.substr(i + 2));
    const bool pair =
        is_high(unit) && inside.substr(i + 6, 2) == "\\u" && is_low(hex4(inside.substr(i + 8)));
    if (!pair && (is_high(unit) || is_low(unit)) && !keep_halves)
      throw JsonError(
          fmt::format("\\u{:04x} is half of a surrogate pair, which stands for no character", unit),
          at() + 1 + i, true);
    append_utf8(out, pair
                         ? 0x10000 + ((unit - 0xD800) << 10) + (hex4(inside.substr(i + 8)) - 0xDC00)
                         : unit);
    i += pair ? 12 : 6;
  }
  return out;
}

std::vector<JsonText> JsonText::elements() const {
  std::vector<JsonText> all;
  Scanner scanner{raw_, 1};
  for (;;) {
    scanner.blanks();
    if (scanner.here() == ',') ++scanner.at;
    scanner.blanks();
    if (scanner.here() == ']') return all;
    const std::size_t begin = scanner.at;
    scanner.value();
    all.push_back({whole_, raw_.substr(begin, scanner.at - begin)});
  }
}

void JsonText::each_raw(
    const std::function<void(const JsonText& key, const JsonText& value)>& visit) const {
  Scanner scanner{raw_, 1};
  for (;;) {
    scanner.blanks();
    if (scanner.here() == ',') ++scanner.at;
    scanner.blanks();
    if (scanner.here() == '}') return;
    const std::size_t key = scanner.at;
    scanner.string();
    const std::size_t key_end = scanner.at;
    scanner.expect(':', "':'");
    scanner.blanks();
    const std::size_t begin = scanner.at;
    scanner.value();
    visit({whole_, raw_.substr(key, key_end - key)},
          {whole_, raw_.substr(begin, scanner.at - begin)});
  }
}

void JsonText::each(
    const std::function<void(std::string key, const JsonText& value)>& visit) const {
  each_raw([&](const JsonText& key, const JsonText& value) { visit(key.text(true), value); });
}

std::optional<JsonText> JsonText::find(std::string_view wanted) const {
  std::optional<JsonText> found;
  each_raw([&](const JsonText& key, const JsonText& value) {
    const std::string_view inside = key.raw_.substr(1, key.raw_.size() - 2);
    const bool same =
        inside.find('\\') == inside.npos ? inside == wanted : key.text(true) == wanted;
    if (!same) return;
    if (found)
      throw JsonError(fmt::format("the key \"{}\" is there twice", wanted), key.at(), false);
    found = value;
  });
  return found;
}

}  // namespace eyrie::base
