// Numbers as people write them, in files and as flags, and the messages for those out of range.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

namespace eyrie::base {

// "1.5", "1e-3", "16Ki" (Ki, Mi, Gi, Ti: powers of two). Empty if it is not a finite number.
std::optional<double> parse_number(std::string_view text);

// A whole number: "12", "16Ki", "2Gi", "1e6". Empty if it is not one, or does not fit 64 bits.
std::optional<std::int64_t> parse_whole(std::string_view text);

constexpr std::int64_t kLargestWhole = std::numeric_limits<std::int64_t>::max();

// Returns why a value is not accepted ("-1 is too small; it must be at least 0"), or "" if it is in
// [least, most].
std::string out_of_range(std::int64_t value, std::int64_t least, std::int64_t most);
std::string out_of_range(double value, double least, double most);

}  // namespace eyrie::base
