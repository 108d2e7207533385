// Reading files through zlib and zstd, and the texts of lines through simdjson.
#include "data_pipeline/documents.h"

#include <fmt/format.h>
#include <glob.h>
#include <simdjson.h>
#include <unicode/utf8.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"

namespace eyrie::data_pipeline {
namespace {

constexpr std::size_t kChunk = 1 << 20;
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

// "a(.gz|.zst)" → "a", "a.gz", "a.zst".
std::vector<std::string> alternatives(const std::string& pattern) {
  const std::size_t open = pattern.find('(');
  const std::size_t close = open == std::string::npos ? open : pattern.find(')', open);
  if (close == std::string::npos) return {pattern};
  std::vector<std::string> result;
  const std::string before = pattern.substr(0, open);
  const std::string group = fmt::format("|{}|", pattern.substr(open + 1, close - open - 1));
  for (std::size_t at = 0; at < group.size();) {
    const std::size_t bar = group.find('|', at);
    for (const std::string& rest : alternatives(pattern.substr(close + 1)))
      result.push_back(before + group.substr(at, bar - at) + rest);
    at = bar + 1;
  }
  return result;
}

}  // namespace

std::vector<base::Path> matching_files(const std::string& pattern) {
  std::vector<base::Path> files;
  for (const std::string& one : alternatives(pattern)) {
    glob_t found{};
    if (glob(one.c_str(), 0, nullptr, &found) == 0)
      for (std::size_t i = 0; i < found.gl_pathc; ++i)
        if (!std::filesystem::is_directory(found.gl_pathv[i]))
          files.emplace_back(found.gl_pathv[i]);
    globfree(&found);
  }
  std::sort(files.begin(), files.end());
  files.erase(std::unique(files.begin(), files.end()), files.end());
  return files;
}

struct FileInput {
  explicit FileInput(const base::Path& path) : file(base::File::open(path)), size(file.size()) {
    chunk.resize(std::min<std::uint64_t>(kChunk, size));
    refill();
    const auto starts = [&](std::initializer_list<int> magic) {
      if (filled < magic.size()) return false;
      return std::equal(magic.begin(), magic.end(), chunk.begin(),
                        [](int a, char b) { return a == static_cast<unsigned char>(b); });
    };
    if (starts({0x1F, 0x8B})) {
      gzip = std::make_unique<z_stream>();
      EYRIE_CHECK(inflateInit2(gzip.get(), 15 + 16) == Z_OK, "zlib does not start");
    } else if (starts({0x28, 0xB5, 0x2F, 0xFD})) {
      zstd.reset(ZSTD_createDStream());
      ZSTD_DCtx_setParameter(zstd.get(), ZSTD_d_windowLogMax, 31);
    }
  }
  ~FileInput() {
    if (gzip) inflateEnd(gzip.get());
  }

  void refill() {
    taken = 0;
    filled = std::min<std::uint64_t>(chunk.size(), size - offset);
    file.read_at(std::as_writable_bytes(std::span(chunk.data(), filled)), offset);
    offset += filled;
  }

  [[noreturn]] void damaged(const std::string& what) const {
    throw base::InputError(
        fmt::format("{}: {}: copy or download it again", file.path().string(), what));
  }

  // Appends up to a chunk of plain bytes to `out`; false when there are no more.
  bool read(std::string& out) {
    const std::size_t before = out.size();
    while (out.size() == before) {
      if (taken == filled && offset < size) refill();
      // A library may hold back output when the room for it was full; it is asked for once more
      // without input.
      if (taken == filled && !(in_frame && was_full)) {
        if (in_frame) damaged("its compressed data ends too early");
        return false;
      }
      out.resize(before + kChunk);
      std::size_t made = 0;
      if (gzip) {
        made = inflate_some(out.data() + before);
      } else if (zstd) {
        ZSTD_inBuffer in{chunk.data() + taken, filled - taken, 0};
        ZSTD_outBuffer to{out.data() + before, kChunk, 0};
        const std::size_t left = ZSTD_decompressStream(zstd.get(), &to, &in);
        if (ZSTD_isError(left))
          damaged(std::string("its zstd data is damaged: ") + ZSTD_getErrorName(left));
        in_frame = left != 0;
        taken += in.pos;
        made = to.pos;
      } else {
        made = std::min(filled - taken, kChunk);
        std::copy_n(chunk.data() + taken, made, out.data() + before);
        taken += made;
      }
      was_full = made == kChunk;
      out.resize(before + made);
    }
    return true;
  }

  std::size_t inflate_some(char* out) {
    gzip->next_in = reinterpret_cast<Bytef*>(chunk.data() + taken);
    gzip->avail_in = static_cast<uInt>(filled - taken);
    gzip->next_out = reinterpret_cast<Bytef*>(out);
    gzip->avail_out = kChunk;
    const int status = inflate(gzip.get(), Z_NO_FLUSH);
    if (status != Z_OK && status != Z_STREAM_END && status != Z_BUF_ERROR)
      damaged(
          fmt::format("its gzip data is damaged: {}", gzip->msg ? gzip->msg : "no reason given"));
    in_frame = status != Z_STREAM_END;
    taken = filled - gzip->avail_in;
    if (!in_frame) inflateReset(gzip.get());  // files of several members are one stream
    return kChunk - gzip->avail_out;
  }

  struct FreeZstd {
    void operator()(ZSTD_DStream* stream) const { ZSTD_freeDStream(stream); }
  };
  base::File file;
  std::uint64_t size;
  std::uint64_t offset = 0;  // of the file, behind what the chunk holds
  std::string chunk;
  std::size_t taken = 0, filled = 0;
  bool in_frame = false;  // compressed data has begun and not ended
  bool was_full = false;  // the last call filled all the room that it was given
  std::unique_ptr<z_stream> gzip;
  std::unique_ptr<ZSTD_DStream, FreeZstd> zstd;
};

LineReader::LineReader(const base::Path& path)
    : path_(path), input_(std::make_unique<FileInput>(path)) {}
LineReader::~LineReader() = default;

std::uint64_t LineReader::consumed() const {
  return input_->offset - (input_->filled - input_->taken);
}

bool LineReader::more() {
  buffer_.erase(0, begin_);
  searched_ -= begin_;
  begin_ = 0;
  return input_->read(buffer_);
}

bool LineReader::next(std::string_view& line) {
  for (;;) {
    std::size_t end = buffer_.find('\n', searched_);
    bool last = false;
    while (end == std::string::npos) {
      searched_ = buffer_.size();
      if (!more()) {
        last = true;
        end = buffer_.size();
        break;
      }
      end = buffer_.find('\n', searched_);
    }
    if (last && begin_ == buffer_.size()) return false;
    line = std::string_view(buffer_).substr(begin_, end - begin_);
    begin_ = searched_ = last ? end : end + 1;
    if (++number_ == 1 && line.starts_with(kByteOrderMark))
      line.remove_prefix(kByteOrderMark.size());
    if (line.find_first_not_of(" \t\r") != std::string_view::npos) return true;
  }
}

std::string read_text(const base::Path& path) {
  FileInput input(path);
  std::string text;
  while (input.read(text))
    if (text.size() > kLargestText)
      throw base::InputError(
          fmt::format("{}: a text of more than 1 GiB: cut it into several files", path.string()));
  if (text.starts_with(kByteOrderMark)) text.erase(0, kByteOrderMark.size());
  return text;
}

std::size_t first_broken_byte(std::string_view text) {
  if (simdjson::validate_utf8(text.data(), text.size())) return text.size();
  const auto size = static_cast<std::int64_t>(text.size());
  std::int64_t at = 0, begin = 0;
  UChar32 c = 0;
  while (c >= 0 && at < size) {
    begin = at;
    U8_NEXT(text.data(), at, size, c);
  }
  return static_cast<std::size_t>(begin);
}

struct DocumentParser::Parser {
  simdjson::dom::parser dom;
};

DocumentParser::DocumentParser(std::string field)
    : parser_(std::make_unique<Parser>()), field_(std::move(field)) {}
DocumentParser::~DocumentParser() = default;

bool DocumentParser::fail(std::string problem, std::int64_t column) {
  problem_ = std::move(problem);
  column_ = column;
  text_ = {};
  return false;
}

bool DocumentParser::parse(std::string_view line) {
  not_utf8_ = false;
  simdjson::dom::element element;
  const auto error = parser_->dom.parse(line.data(), line.size()).get(element);
  if (error == simdjson::UTF8_ERROR) {
    not_utf8_ = true;
    const std::size_t at = first_broken_byte(line);
    return fail(fmt::format("byte 0x{:02X} is not UTF-8", static_cast<unsigned char>(line[at])),
                static_cast<std::int64_t>(at) + 1);
  }
  if (error) {
    // The fast parser does not say where; the other one does.
    try {
      [[maybe_unused]] const auto parsed = nlohmann::json::parse(line.begin(), line.end());
    } catch (const nlohmann::json::parse_error& e) {
      return fail("not a JSON object: the line is cut off or damaged here",
                  static_cast<std::int64_t>(e.byte));
    }
    return fail(std::string("not a JSON object: ") + simdjson::error_message(error), 0);
  }
  simdjson::dom::object object;
  if (element.get(object)) return fail("not a JSON object", 1);
  simdjson::dom::element value;
  if (object.at_key(field_).get(value)) {
    std::string known;
    for (const auto field : object) {
      if (!known.empty()) known += ", ";
      known += field.key;
    }
    return fail(
        fmt::format("no field \"{}\"; the line has: {}", field_, known.empty() ? "none" : known),
        0);
  }
  if (value.get(text_)) return fail(fmt::format("field \"{}\" is not a string", field_), 0);
  return true;
}

std::string at_line(const base::Path& path, std::int64_t line, std::int64_t column,
                    const std::string& problem) {
  if (column == 0) return fmt::format("{}:{}: {}", path.string(), line, problem);
  return fmt::format("{}:{}:{}: {}", path.string(), line, column, problem);
}

}  // namespace eyrie::data_pipeline
