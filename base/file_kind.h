// What a file is, told by its first bytes and its name, where text is expected: so that another
// kind of file is refused by its name and never read as text.
#pragma once

#include <string>
#include <string_view>

namespace eyrie::base {

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";  // of UTF-8

enum class Compression { kNone, kGzip, kZstd };

// How the file is compressed, which name and first bytes (600, or all) must say alike. InputError
// names the file, what it is and what to do: a compression that is not read (.xz, .bz2, …), an
// ending that the bytes do not fit, a compressed file without its ending.
Compression compression_of(const std::string& path, std::string_view first_bytes);

// Empty for what may be text in UTF-8; else what the bytes are and what to do about it ("UTF-16
// text; convert it to UTF-8: iconv …"), fit to follow a file's name. For the first bytes of a file
// (600, or all), as they are without compression.
std::string not_text(std::string_view first_bytes);

// The same for a file of JSON lines, which is not one JSON list of objects either.
std::string not_json_lines(std::string_view first_bytes);

// Refuses a path that is no file which can be read more than once: a folder, a pipe, a device.
// InputError says so; nothing is said of what is not there.
void check_regular_file(const std::string& path);

}  // namespace eyrie::base
