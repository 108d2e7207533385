// Products and sums of sizes that users give, which may be arbitrarily large.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"

namespace eyrie::base {

// Empty if the result does not fit 64 bits.
inline std::optional<std::int64_t> product(std::initializer_list<std::int64_t> factors) {
  std::int64_t all = 1;
  for (const std::int64_t factor : factors) {
    if (__builtin_mul_overflow(all, factor, &all)) return std::nullopt;
  }
  return all;
}

inline std::optional<std::int64_t> sum(std::initializer_list<std::int64_t> terms) {
  std::int64_t all = 0;
  for (const std::int64_t term : terms) {
    if (__builtin_add_overflow(all, term, &all)) return std::nullopt;
  }
  return all;
}

// Throws InputError naming the factors if the product is more than `most`. `what` says what is
// counted.
inline std::int64_t checked_product(const std::string& what,
                                    std::initializer_list<std::int64_t> factors,
                                    std::int64_t most) {
  const std::optional<std::int64_t> all = product(factors);
  if (all && *all <= most) return *all;
  double about = 1;
  for (const std::int64_t factor : factors) about *= static_cast<double>(factor);
  throw InputError(fmt::format("{} would be {} = {}; at most {} can be", what,
                               fmt::join(factors, " × "),
                               all ? fmt::format("{}", *all) : fmt::format("{:.3g}", about), most));
}

}  // namespace eyrie::base
