// SHA-256 (FIPS 180-4): lm-evaluation-harness names prompts by it, so the samples of two programs
// can be compared line by line without carrying their prompts. For nothing else: files and
// fingerprints have base/hash.h.
#pragma once

#include <string>
#include <string_view>

namespace eyrie::eval {

std::string sha256(std::string_view bytes);  // 64 lower-case hexadecimal digits

}  // namespace eyrie::eval
