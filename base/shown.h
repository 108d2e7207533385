// Makes text from files safe to display: what a terminal would obey (escape sequences, carriage
// returns, bidirectional controls) is shown instead.
#pragma once

#include <string>
#include <string_view>

namespace eyrie::base {

// Returns `text` with every control character (C0, DEL, C1), every bidirectional control (U+202A to
// U+202E, U+2066 to U+2069), both separators (U+2028, U+2029) and every byte that is not UTF-8
// written out: "\x1b", "\u202e". Everything else stays, even backslashes, so the result is for
// people and cannot be parsed back. Applying it twice changes nothing more.
std::string shown(std::string_view text);        // on one line
std::string shown_lines(std::string_view text);  // keeps line breaks and tabs

// Returns JSON with the same values in which these characters are written as "\u009b". `json` must
// be valid JSON in UTF-8.
std::string shown_json(std::string_view json);

bool is_utf8(std::string_view text);

}  // namespace eyrie::base
