// Numbers as people write them, in files and as flags, and what is said of those out of range.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

namespace eyrie::base {

// "1.5", "1e-3", "16Ki" (Ki, Mi, Gi, Ti: powers of two). None: no number, or not a finite one.
std::optional<double> parse_number(std::string_view text);

// A whole number: "12", "16Ki", "2Gi", "1e6". None: no such number, or none of 64 bits.
std::optional<std::int64_t> parse_whole(std::string_view text);

constexpr std::int64_t kLargestWhole = std::numeric_limits<std::int64_t>::max();

// Why a value cannot be taken ("-1 is too small; it must be at least 0"), or "" for one in [least,
// most].
std::string out_of_range(std::int64_t value, std::int64_t least, std::int64_t most);
std::string out_of_range(double value, double least, double most);

}  // namespace eyrie::base
