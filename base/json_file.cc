// Reads a file that is one JSON object and rewrites it so that every parser can read it.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <set>

#include "base/file.h"
#include "base/file_kind.h"
#include "base/json_text.h"

namespace eyrie::base {
namespace {

// Which half of a surrogate pair the escape at `at` is: 'h' high, 'l' low, 0 neither.
char half_at(std::string_view raw, std::size_t at) {
  const std::string_view escape = raw.substr(std::min(at, raw.size()), 4);
  if (escape.size() < 4 || !escape.starts_with("\\u") || (escape[2] | 0x20) != 'd') return 0;
  const char digit = escape[3];
  if (digit >= '0' && digit <= '7') return 0;
  return digit == '8' || digit == '9' || (digit | 0x20) == 'a' || (digit | 0x20) == 'b' ? 'h' : 'l';
}

void write_string(std::string& out, std::string_view raw) {
  for (std::size_t i = 0; i < raw.size();) {
    const char half = half_at(raw, i);
    const bool pair = half == 'h' && half_at(raw, i + 6) == 'l';
    const std::size_t length = pair ? 12 : raw[i] != '\\' ? 1 : raw[i + 1] == 'u' ? 6 : 2;
    out += half != 0 && !pair ? std::string_view("\\ufffd") : raw.substr(i, length);
    i += length;
  }
}

void write_number(std::string& out, std::string_view raw) {
  double value = 0;
  const auto [end, error] = std::from_chars(raw.data(), raw.data() + raw.size(), value);
  const bool small = raw.find("e-") != raw.npos || raw.find("E-") != raw.npos;
  if (error != std::errc::result_out_of_range) {
    out += raw;
  } else if (small) {
    out += "0.0";
  } else {
    out += raw.front() == '-' ? "-1.7976931348623157e308" : "1.7976931348623157e308";
  }
}

void write(std::string& out, const JsonText& value) {
  bool first = true;
  const auto separate = [&] {
    if (!first) out += ',';
    first = false;
  };
  switch (value.kind()) {
    case JsonText::Kind::kObject: {
      std::set<std::string> keys;
      out += '{';
      value.each([&](const std::string& key, const JsonText& below) {
        if (!keys.insert(key).second)
          throw JsonError(fmt::format("the key \"{}\" is there twice", key), below.at(), false);
        separate();
        out += '"';
        for (const char c : key) {
          if (c == '"' || c == '\\') out += '\\';
          out += static_cast<unsigned char>(c) < 0x20
                     ? fmt::format("\\u{:04x}", static_cast<unsigned>(c))
                     : std::string(1, c);
        }
        out += "\":";
        write(out, below);
      });
      out += '}';
      break;
    }
    case JsonText::Kind::kList:
      out += '[';
      for (const JsonText& below : value.elements()) {
        separate();
        write(out, below);
      }
      out += ']';
      break;
    case JsonText::Kind::kString:
      write_string(out, value.raw());
      break;
    case JsonText::Kind::kNumber:
      write_number(out, value.raw());
      break;
    default:
      out += value.raw();
  }
}

}  // namespace

std::string read_json_object(const std::string& path) {
  const std::string contents = read_file(path);
  const std::string other = not_text(contents);
  if (!other.empty()) throw InputError(fmt::format("{}: {}", path, other));
  std::string_view text = contents;
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  try {
    const JsonText value = JsonText::parse(text);
    if (value.kind() != JsonText::Kind::kObject)
      throw JsonError(fmt::format("{}, where an object ({{…}}) is expected", value.kind_name()),
                      value.at(), false);
    std::string out;
    write(out, value);
    return out;
  } catch (const JsonError& error) {
    const std::string_view before = text.substr(0, error.at());
    const auto line = std::count(before.begin(), before.end(), '\n') + 1;
    const std::size_t line_break = before.rfind('\n');
    const std::size_t column = before.size() - (line_break == before.npos ? 0 : line_break + 1) + 1;
    throw InputError(fmt::format("{}:{}:{}: {}", path, line, column, error.what()));
  }
}

}  // namespace eyrie::base
