// Text from files made safe to look at: what a terminal would obey (escape sequences, carriage
// returns, orders that turn the direction of writing) is shown instead.
#pragma once

#include <string>
#include <string_view>

namespace eyrie::base {

// `text` with every control character (C0, DEL, C1), every order that turns the direction of
// writing (U+202A to U+202E, U+2066 to U+2069), both separators (U+2028, U+2029) and every byte
// that is not UTF-8 written out: "\x1b", "\u202e". All else stays, backslashes too, so that what
// is shown is for eyes and not to be read back. Shown twice is shown once.
std::string shown(std::string_view text);        // on one line
std::string shown_lines(std::string_view text);  // line breaks and tabs stay

// JSON whose texts hold no such character as it is: the same values, written as "\u009b". `json`
// must be valid JSON in UTF-8.
std::string shown_json(std::string_view json);

bool is_utf8(std::string_view text);

}  // namespace eyrie::base
