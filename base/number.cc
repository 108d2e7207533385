// Parsing numbers, and the messages about their ranges.
#include "base/number.h"

#include <charconv>
#include <cmath>
#include <utility>

#include <fmt/format.h>

namespace eyrie::base {

std::optional<double> parse_number(std::string_view text) {
  if (text.starts_with('+')) text.remove_prefix(1);
  double unit = 1;
  for (const auto& [suffix, value] :
       {std::pair{"Ki", 0x1p10}, {"Mi", 0x1p20}, {"Gi", 0x1p30}, {"Ti", 0x1p40}}) {
    if (text.ends_with(suffix)) {
      text.remove_suffix(2);
      unit = value;
      break;
    }
  }
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value * unit))
    return std::nullopt;
  return value * unit;
}

std::optional<std::int64_t> parse_whole(std::string_view text) {
  if (text.starts_with('+')) text.remove_prefix(1);
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc() && end == text.data() + text.size()) return value;
  // 16Ki, 1e6, 1.5Mi: parsed as a double, if that holds the number exactly.
  const std::optional<double> number = parse_number(text);
  if (!number || std::floor(*number) != *number || std::abs(*number) > 0x1p53) return std::nullopt;
  return static_cast<std::int64_t>(*number);
}

std::string out_of_range(std::int64_t value, std::int64_t least, std::int64_t most) {
  if (value < least) return fmt::format("{} is too small; it must be at least {}", value, least);
  if (value > most) return fmt::format("{} is too large; it must be at most {}", value, most);
  return "";
}

std::string out_of_range(double value, double least, double most) {
  if (value >= least && value <= most) return "";
  return fmt::format("{} is out of range; it must lie in [{}, {}]", value, least, most);
}

}  // namespace eyrie::base
