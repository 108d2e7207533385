// Python's string functions over ICU's.
#include "text/python_string.h"

#include <unicode/locid.h>
#include <unicode/unistr.h>
#include <unicode/utf8.h>

#include <charconv>
#include <cmath>

namespace eyrie::text {
namespace {

bool is_space(UChar32 c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 ||
         c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
         c == 0x205F || c == 0x3000;
}

icu::UnicodeString to_icu(std::string_view text) {
  return icu::UnicodeString::fromUTF8({text.data(), static_cast<std::int32_t>(text.size())});
}

std::string from_icu(const icu::UnicodeString& text) {
  std::string result;
  text.toUTF8String(result);
  return result;
}

}  // namespace

std::string_view lstrip(std::string_view text) {
  std::int32_t at = 0;
  const auto size = static_cast<std::int32_t>(text.size());
  while (at < size) {
    std::int32_t next = at;
    UChar32 c = 0;
    U8_NEXT(text.data(), next, size, c);
    if (!is_space(c)) break;
    at = next;
  }
  return text.substr(static_cast<std::size_t>(at));
}

std::string_view rstrip(std::string_view text) {
  auto end = static_cast<std::int32_t>(text.size());
  while (end > 0) {
    std::int32_t before = end;
    UChar32 c = 0;
    U8_PREV(text.data(), 0, before, c);
    if (!is_space(c)) break;
    end = before;
  }
  return text.substr(0, static_cast<std::size_t>(end));
}

std::string_view strip(std::string_view text) { return lstrip(rstrip(text)); }

std::int64_t length(std::string_view text) {
  std::int64_t count = 0;
  for (const char c : text) count += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  return count;
}

std::string lower(std::string_view text) {
  return from_icu(to_icu(text).toLower(icu::Locale::getRoot()));
}

std::string capitalize(std::string_view text) {
  if (text.empty()) return {};
  const icu::UnicodeString whole = to_icu(text);
  const icu::UnicodeString first(whole.char32At(0));
  // The whole text is lower-cased, because the form of a final sigma depends on what precedes it.
  icu::UnicodeString lowered = whole;
  lowered.toLower(icu::Locale::getRoot());
  const std::int32_t first_length =
      icu::UnicodeString(first).toLower(icu::Locale::getRoot()).length();
  icu::UnicodeString result = icu::UnicodeString(first).toTitle(nullptr, icu::Locale::getRoot());
  result.append(lowered, first_length, lowered.length() - first_length);
  return from_icu(result);
}

// The fewest digits that convert back to the same number, as to_chars finds them; with an exponent
// below 1e-4 and from 1e16 on.
std::string float_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char memory[32];
  const auto form = value == 0 || (std::abs(value) >= 1e-4 && std::abs(value) < 1e16)
                        ? std::chars_format::fixed
                        : std::chars_format::scientific;
  const auto end = std::to_chars(memory, memory + sizeof memory, value, form).ptr;
  std::string text(memory, end);
  if (form == std::chars_format::fixed && text.find('.') == std::string::npos) text += ".0";
  return text;
}

std::string replace_all(std::string_view text, std::string_view from, std::string_view to) {
  std::string result;
  std::size_t at = 0;
  for (;;) {
    const std::size_t found = text.find(from, at);
    result += text.substr(at, found - at);
    if (found == std::string_view::npos) return result;
    result += to;
    at = found + from.size();
  }
}

}  // namespace eyrie::text
