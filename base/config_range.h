// Numbers of a configuration, each with the range that it must lie in.
#pragma once

#include <cstdint>
#include <string>

#include "base/config.h"
#include "base/number.h"

namespace eyrie::base {

// `value`, which the key holds. InputError naming file, line, key, value and range.
std::int64_t in_range(const Config& section, const std::string& key, std::int64_t value,
                      std::int64_t least, std::int64_t most);
double in_range(const Config& section, const std::string& key, double value, double least,
                double most);

// The value of a key that must be there, or (with a fallback) may be left out.
std::int64_t get_whole(Config& section, const std::string& key, std::int64_t least,
                       std::int64_t most);
std::int64_t get_whole(Config& section, const std::string& key, std::int64_t fallback,
                       std::int64_t least, std::int64_t most);
double get_number(Config& section, const std::string& key, double fallback, double least,
                  double most);

}  // namespace eyrie::base
