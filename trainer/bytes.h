// Byte sizes as people write them.
#pragma once

#include <cstdint>
#include <string>

#include "base/config.h"

namespace eyrie::trainer {

// Parses "24GB", "1.5 GiB", "65536": kB, MB, GB, TB are powers of ten; KiB, MiB, GiB, TiB of two;
// the "B" is optional. Returns −1 if the text is no such size, or not above 0.
std::int64_t parse_bytes(const std::string& text);

// Returns why a text is not a size of at least `least` bytes (often the unit is missing), or "".
std::string amount_too_small(const std::string& text, std::int64_t least);

// Reads the value of a key. Throws InputError if it is missing, not a size, or less than `least`.
std::int64_t read_bytes(base::Config& section, const std::string& key, std::int64_t least = 1);

// "1.93 GB": powers of ten; below a kilobyte "24 bytes".
std::string bytes_text(std::int64_t bytes);

}  // namespace eyrie::trainer
