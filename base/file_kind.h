// Recognises a file by its first bytes and its name where text is expected, so that another kind of
// file is refused by its name and never read as text.
#pragma once

#include <string>
#include <string_view>

namespace eyrie::base {

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";  // of UTF-8

enum class Compression { kNone, kGzip, kZstd };

// Returns how the file is compressed. Its name and first bytes (600, or all) must agree. Throws
// InputError naming the file, what it is and what to do: an unsupported compression (.xz, .bz2, …),
// an extension that does not fit the bytes, or a compressed file without its extension.
Compression compression_of(const std::string& path, std::string_view first_bytes);

// Returns "" if the bytes may be UTF-8 text, else what they are and what to do about it ("UTF-16
// text; convert it to UTF-8: iconv …"), worded to follow a file's name. Takes the first bytes of a
// file (600, or all), decompressed.
std::string not_text(std::string_view first_bytes);

// The same for a file of JSON lines; also refuses one JSON list of objects.
std::string not_json_lines(std::string_view first_bytes);

// Throws InputError if the path is not a file that can be read more than once: a folder, a pipe, a
// device. Does nothing if the path does not exist.
void check_regular_file(const std::string& path);

}  // namespace eyrie::base
