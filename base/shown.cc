// All functions use one pass over the UTF-8 text.
#include "base/shown.h"

#include <cstdint>

#include <fmt/format.h>

namespace eyrie::base {
namespace {

struct Character {
  std::uint32_t code = 0;
  std::size_t length = 0;  // in bytes; 0: not UTF-8
};

// The character at the beginning of `text`, which is not empty.
Character first_character(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  if (byte(0) < 0x80) return {byte(0), 1};
  const std::size_t length = byte(0) >= 0xf0 ? 4 : byte(0) >= 0xe0 ? 3 : byte(0) >= 0xc2 ? 2 : 0;
  if (length == 0 || byte(0) > 0xf4 || text.size() < length) return {};
  std::uint32_t code = byte(0) & (0xff >> (length + 1));
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return {};
    code = code << 6 | (byte(i) & 0x3f);
  }
  const std::uint32_t least = length == 2 ? 0x80 : length == 3 ? 0x800 : 0x10000;
  if (code < least || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) return {};
  return {code, length};
}

bool is_obeyed(std::uint32_t code) {
  return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x2028 || code == 0x2029 ||
         (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
}

std::string show(std::string_view text, bool keep_lines, bool json) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const Character c = first_character(text);
    const std::size_t length = c.length == 0 ? 1 : c.length;
    const bool kept = keep_lines && (c.code == '\n' || c.code == '\t');
    if (c.length == 0) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(text[0]));
    } else if (!is_obeyed(c.code) || kept || (json && c.code < 0x20)) {
      out += text.substr(0, length);
    } else {
      // C1 by its code point, not as its two bytes.
      out += json || c.code > 0xff ? fmt::format("\\u{:04x}", c.code)
                                   : fmt::format("\\x{:02x}", c.code);
    }
    text.remove_prefix(length);
  }
  return out;
}

}  // namespace

std::string shown(std::string_view text) { return show(text, false, false); }
std::string shown_lines(std::string_view text) { return show(text, true, false); }
std::string shown_json(std::string_view json) { return show(json, true, true); }

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const std::size_t length = first_character(text).length;
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

}  // namespace eyrie::base
