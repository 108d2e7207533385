// What Python's str methods do to a text, for prompts that must equal those of a Python program.
// UTF-8 in and out; a character is a code point.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace eyrie::text {

// White space is as in str.isspace(): Unicode's, and the separators U+001C to U+001F.
std::string_view strip(std::string_view text);
std::string_view lstrip(std::string_view text);
std::string_view rstrip(std::string_view text);

std::int64_t length(std::string_view text);  // code points
std::string lower(std::string_view text);
std::string capitalize(std::string_view text);  // first character in title case, others lower
// str() of a float: "3.0", "0.1", "1e+16".
std::string float_text(double value);
// Replaces every `from` (not empty) by `to`, in one pass from left to right.
std::string replace_all(std::string_view text, std::string_view from, std::string_view to);

}  // namespace eyrie::text
