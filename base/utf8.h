// UTF-8 encoding and decoding.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace eyrie::base {

// Returns the length of the first character, 1 to 4 bytes; 0 if these bytes are not UTF-8.
std::size_t utf8_length(std::string_view text);

// Appends the characters to `out`. Returns false at the first one that is not UTF-8.
bool decode_utf8(std::string_view text, std::u32string& out);

void append_utf8(std::string& out, char32_t c);

}  // namespace eyrie::base
