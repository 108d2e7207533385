// Amounts of memory as people write them.
#pragma once

#include <cstdint>
#include <string>

#include "base/config.h"

namespace eyrie::trainer {

// "24GB", "1.5 GiB", "65536": kB, MB, GB, TB are powers of ten; KiB, MiB, GiB, TiB of two; a "B"
// may be left out. −1: no such amount, or none above 0.
std::int64_t parse_bytes(const std::string& text);

// Why a text is no amount of at least so many bytes (often a unit that is missing), or "".
std::string amount_too_small(const std::string& text, std::int64_t least);

// The value of a key. InputError: not there, no amount, or less than `least`.
std::int64_t read_bytes(base::Config& section, const std::string& key, std::int64_t least = 1);

// "1.93 GB": powers of ten; below a kilobyte "24 bytes".
std::string bytes_text(std::int64_t bytes);

}  // namespace eyrie::trainer
