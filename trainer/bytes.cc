// Reading and writing byte sizes.
#include "trainer/bytes.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdlib>
#include <string_view>

#include "base/error.h"

namespace eyrie::trainer {

std::int64_t parse_bytes(const std::string& text) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (end == text.c_str() || !(value > 0) || !std::isfinite(value)) return -1;
  std::string_view unit = end;
  while (!unit.empty() && unit.front() == ' ') unit.remove_prefix(1);
  if (!unit.empty() && unit.back() == 'B') unit.remove_suffix(1);
  double factor = 1;
  if (!unit.empty()) {
    const std::size_t power = std::string_view("kMGT").find(unit[0] == 'K' ? 'k' : unit[0]);
    if (power == std::string_view::npos || (unit.size() > 1 && unit.substr(1) != "i")) return -1;
    factor = std::pow(unit.size() > 1 ? 1024.0 : 1000.0, static_cast<double>(power + 1));
  }
  const double bytes = value * factor;
  return bytes >= 1 && bytes < 9e18 ? static_cast<std::int64_t>(bytes) : -1;
}

std::string amount_too_small(const std::string& text, std::int64_t least) {
  const std::int64_t bytes = parse_bytes(text);
  if (bytes >= least) return "";
  if (bytes < 0)
    return fmt::format("'{}' is no amount of bytes above 0; write it as 24GB, 1.5GiB or 500MB",
                       text);
  const bool bare = text.find_first_not_of("0123456789.+eE ") == std::string::npos;
  return fmt::format(
      "'{}' is {}; it must be at least {}{}", text, bytes_text(bytes), bytes_text(least),
      bare ? fmt::format(" (is the unit missing? write {}GB or {}MB)", text, text) : "");
}

std::int64_t read_bytes(base::Config& section, const std::string& key, std::int64_t least) {
  const std::string text = section.get<std::string>(key);
  const std::string why = amount_too_small(text, least);
  if (!why.empty()) throw section.error(key, why + ", or leave the key out");
  return parse_bytes(text);
}

std::string bytes_text(std::int64_t bytes) {
  const auto value = static_cast<double>(bytes);
  if (value >= 1e12) return fmt::format("{:.2f} TB", value * 1e-12);
  if (value >= 1e9) return fmt::format("{:.2f} GB", value * 1e-9);
  if (value >= 1e6) return fmt::format("{:.1f} MB", value * 1e-6);
  if (bytes >= 1000) return fmt::format("{:.1f} kB", value * 1e-3);
  return base::counted(bytes, "byte");
}

}  // namespace eyrie::trainer
