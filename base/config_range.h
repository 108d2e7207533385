// Numbers of a configuration, checked against their allowed range.
#pragma once

#include <cstdint>
#include <string>

#include "base/config.h"
#include "base/number.h"

namespace eyrie::base {

// Returns `value`, the value of `key`. Throws InputError naming file, line, key, value and range if
// it is out of range.
std::int64_t in_range(const Config& section, const std::string& key, std::int64_t value,
                      std::int64_t least, std::int64_t most);
double in_range(const Config& section, const std::string& key, double value, double least,
                double most);

// Reads a key and checks its range. Without a fallback the key must be present.
std::int64_t get_whole(Config& section, const std::string& key, std::int64_t least,
                       std::int64_t most);
std::int64_t get_whole(Config& section, const std::string& key, std::int64_t fallback,
                       std::int64_t least, std::int64_t most);
double get_number(Config& section, const std::string& key, double fallback, double least,
                  double most);

}  // namespace eyrie::base
