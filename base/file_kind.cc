// Magic numbers and file name extensions.
#include "base/file_kind.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <filesystem>

#include "base/error.h"

namespace eyrie::base {
namespace {

using namespace std::string_view_literals;

struct Kind {
  std::string_view name;     // "an xz file"
  std::string_view endings;  // " .xz ", in lower case, each surrounded by blanks
  std::size_t offset;        // of the magic number
  std::string_view magic;    // empty: there is none
  std::string_view advice;
};

constexpr std::string_view kUnpack = "unpack it";
constexpr std::string_view kConvert = "write it as JSON lines, one object a line";

constexpr Kind kKinds[] = {
    {"an xz file", " .xz .txz .lzma ", 0, "\xFD\x37\x7A\x58\x5A\x00"sv, kUnpack},
    {"a bzip2 file", " .bz2 .bz .tbz .tbz2 ", 4, "\x31\x41\x59\x26\x53\x59"sv, kUnpack},
    {"an lz4 file", " .lz4 ", 0, "\x04\x22\x4D\x18"sv, kUnpack},
    {"a brotli file", " .br ", 0, ""sv, kUnpack},
    {"a snappy file", " .sz .snappy ", 0, "\xFF\x06\x00\x00sNaPpY"sv, kUnpack},
    {"an lzip file", " .lz ", 0, "LZIP\x01"sv, kUnpack},
    {"a compress file", " .z ", 0, "\x1F\x9D"sv, kUnpack},
    {"a zip archive", " .zip .npz .docx .xlsx .epub .jar ", 0, "PK\x03\x04"sv, kUnpack},
    {"a 7z archive", " .7z ", 0, "7z\xBC\xAF\x27\x1C"sv, kUnpack},
    {"a rar archive", " .rar ", 0, "Rar!\x1A\x07"sv, kUnpack},
    {"a tar archive", " .tar .tgz .tzst ", 257, "ustar"sv, "unpack it and name its files"},
    {"a parquet file", " .parquet ", 0, "PAR1\x15"sv, kConvert},
    {"an arrow file", " .arrow .feather .ipc ", 0, "ARROW1\x00\x00"sv, kConvert},
    {"an HDF5 file", " .h5 .hdf5 ", 0, "\x89HDF\r\n\x1A\n"sv, kConvert},
    {"an SQLite file", " .sqlite .sqlite3 ", 0, "SQLite format 3\x00"sv, kConvert},
    {"a NumPy file", " .npy ", 0, "\x93NUMPY"sv, kConvert},
    {"a PDF file", " .pdf ", 0, "%PDF-1."sv, "take its text out of it"},
    {"a PNG image", " .png ", 0, "\x89PNG\r\n\x1A\n"sv, "it holds no text"},
    {"a JPEG image", " .jpg .jpeg ", 0, "\xFF\xD8\xFF"sv, "it holds no text"},
    {"an executable", " .so .exe ", 0,
     "\x7F"
     "ELF"sv,
     "it holds no text"},
};

bool is_gzip(std::string_view bytes) { return bytes.starts_with("\x1F\x8B"sv); }
bool is_zstd(std::string_view bytes) {
  if (bytes.size() < 4) return false;
  const auto first = static_cast<unsigned char>(bytes[0]);
  const bool frame = bytes.substr(1, 3) == "\xB5\x2F\xFD"sv && first >= 0x1E && first <= 0x28;
  const bool skippable = bytes.substr(1, 3) == "\x2A\x4D\x18"sv && first >= 0x50 && first <= 0x5F;
  return frame || skippable;
}

const Kind* kind_of(std::string_view bytes) {
  for (const Kind& kind : kKinds)
    if (!kind.magic.empty() && bytes.size() >= kind.offset + kind.magic.size() &&
        bytes.substr(kind.offset, kind.magic.size()) == kind.magic)
      return &kind;
  return nullptr;
}

// Recognises UTF-16 and UTF-32 by their byte order marks or by the zero bytes that all ASCII
// characters have in them.
std::string wide_text(std::string_view bytes) {
  const auto convert = [](std::string_view name) {
    return fmt::format("{} text, where UTF-8 is expected; convert it: iconv -f {} -t UTF-8", name,
                       name);
  };
  if (bytes.starts_with("\xFF\xFE\x00\x00"sv) || bytes.starts_with("\x00\x00\xFE\xFF"sv))
    return convert("UTF-32");
  if (bytes.starts_with("\xFF\xFE"sv) || bytes.starts_with("\xFE\xFF"sv)) return convert("UTF-16");
  const std::size_t units = std::min<std::size_t>(bytes.size(), 64) / 4;
  if (units == 0) return "";
  int zeros[4] = {};
  for (std::size_t i = 0; i < 4 * units; ++i) zeros[i % 4] += bytes[i] == '\0';
  const auto all = static_cast<int>(units);
  const auto is = [&](int a, int b, int c, int d) {
    return zeros[0] == a && zeros[1] == b && zeros[2] == c && zeros[3] == d;
  };
  if (is(0, all, all, all)) return convert("UTF-32LE");
  if (is(all, all, all, 0)) return convert("UTF-32BE");
  if (is(0, all, 0, all)) return convert("UTF-16LE");
  if (is(all, 0, all, 0)) return convert("UTF-16BE");
  return "";
}

std::string ending_of(const std::string& path) {
  std::string ending = std::filesystem::path(path).extension().string();
  for (char& c : ending) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return ending;
}

}  // namespace

std::string not_text(std::string_view bytes) {
  if (is_gzip(bytes)) return fmt::format("a gzip file, where text is expected; {}", kUnpack);
  if (is_zstd(bytes)) return fmt::format("a zstd file, where text is expected; {}", kUnpack);
  if (const Kind* kind = kind_of(bytes))
    return fmt::format("{}, where text is expected; {}", kind->name, kind->advice);
  if (const std::string wide = wide_text(bytes); !wide.empty()) return wide;
  const auto is_binary = [](char c) {
    return static_cast<unsigned char>(c) < 32 && (c < '\t' || c > '\r') && c != '\x1B';
  };
  const auto begin = bytes.substr(0, 512);
  const auto binary = std::count_if(begin.begin(), begin.end(), is_binary);
  if (binary * 16 > static_cast<std::ptrdiff_t>(begin.size()))
    return "binary data, where text in UTF-8 is expected";
  return "";
}

std::string not_json_lines(std::string_view begin) {
  std::string what = not_text(begin);
  if (!what.empty()) return what;
  const auto skip_blanks = [&] {
    begin.remove_prefix(std::min(begin.find_first_not_of(" \t\r\n"), begin.size()));
  };
  if (begin.starts_with(kByteOrderMark)) begin.remove_prefix(kByteOrderMark.size());
  skip_blanks();
  if (!begin.starts_with('[')) return "";
  begin.remove_prefix(1);
  skip_blanks();
  if (!begin.empty() && begin.front() != '{') return "";
  return "one JSON list of objects, where one object a line is expected; write it so: jq -c '.[]'";
}

Compression compression_of(const std::string& path, std::string_view bytes) {
  const std::string ending = ending_of(path);
  const auto refuse = [&](const std::string& what) {
    return InputError(fmt::format("{}: {}", path, what));
  };
  const auto really = [&]() -> std::string {
    if (bytes.empty()) return "it is empty; copy or download it again";
    if (is_gzip(bytes)) return "it is a gzip file; rename it to .gz";
    if (is_zstd(bytes)) return "it is a zstd file; rename it to .zst";
    if (const Kind* kind = kind_of(bytes))
      return fmt::format("it is {}; {}", kind->name, kind->advice);
    return "it does not begin like one; rename it if it is not compressed, or copy it again";
  };
  if (ending == ".gz" || ending == ".gzip") {
    if (is_gzip(bytes)) return Compression::kGzip;
    throw refuse(fmt::format("its name says that it is a gzip file, but {}", really()));
  }
  if (ending == ".zst" || ending == ".zstd") {
    if (is_zstd(bytes)) return Compression::kZstd;
    throw refuse(fmt::format("its name says that it is a zstd file, but {}", really()));
  }
  for (const Kind& kind : kKinds)
    if (!ending.empty() && kind.endings.find(fmt::format(" {} ", ending)) != kind.endings.npos)
      throw refuse(fmt::format("by its name {}, which is not read here (.gz and .zst are); {}",
                               kind.name, kind.advice));
  if (is_gzip(bytes))
    throw refuse("a gzip file that is not called so; give its name the ending .gz");
  if (is_zstd(bytes))
    throw refuse("a zstd file that is not called so; give its name the ending .zst");
  if (const Kind* kind = kind_of(bytes))
    throw refuse(fmt::format("{}, which is not read here; {}", kind->name, kind->advice));
  return Compression::kNone;
}

void check_regular_file(const std::string& path) {
  std::error_code ignored;
  const auto status = std::filesystem::status(path, ignored);
  if (std::filesystem::is_directory(status))
    throw InputError(fmt::format("{}: a folder, where a file is expected; name its files: {}", path,
                                 (std::filesystem::path(path) / "*").string()));
  if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status))
    throw InputError(
        fmt::format("{}: a pipe or a device, which cannot be read more than once; write it to a "
                    "file and name that",
                    path));
}

}  // namespace eyrie::base
