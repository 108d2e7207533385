// Reads files through zlib and zstd.
#include "base/file_input.h"

#include <fmt/format.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include <algorithm>

#include "base/error.h"

namespace eyrie::base {
namespace {

constexpr std::size_t kChunk = 1 << 20;

File open_regular(const Path& path) {
  check_regular_file(path.string());
  return File::open(path);
}

}  // namespace

struct FileInput::Gzip {
  Gzip() { EYRIE_CHECK(inflateInit2(&stream, 15 + 16) == Z_OK, "zlib does not start"); }
  ~Gzip() { inflateEnd(&stream); }
  z_stream stream{};
  bool first_member = true;
};

struct FileInput::Zstd {
  Zstd() : stream(ZSTD_createDStream()) {
    EYRIE_CHECK(stream != nullptr, "zstd does not start");
    ZSTD_DCtx_setParameter(stream, ZSTD_d_windowLogMax, 31);
  }
  ~Zstd() { ZSTD_freeDStream(stream); }
  ZSTD_DStream* stream;
};

FileInput::FileInput(const Path& path) : file_(open_regular(path)), size_(file_.size()) {
  chunk_.resize(std::min<std::uint64_t>(kChunk, size_));
  refill();
  switch (compression_of(path.string(), {chunk_.data(), filled_})) {
    case Compression::kGzip:
      gzip_ = std::make_unique<Gzip>();
      break;
    case Compression::kZstd:
      zstd_ = std::make_unique<Zstd>();
      break;
    case Compression::kNone:
      break;
  }
}

FileInput::~FileInput() = default;

void FileInput::refill() {
  taken_ = 0;
  filled_ = std::min<std::uint64_t>(chunk_.size(), size_ - offset_);
  file_.read_at(std::as_writable_bytes(std::span(chunk_.data(), filled_)), offset_);
  offset_ += filled_;
}

void FileInput::damaged(const std::string& what) const {
  throw InputError(fmt::format("{}: {}: copy or download it again", file_.path().string(), what));
}

bool FileInput::read(std::string& out) {
  const std::size_t before = out.size();
  while (out.size() == before) {
    if (taken_ == filled_ && offset_ < size_) refill();
    // A library may hold back output when its output space was full, so it is called once more
    // without input.
    if (taken_ == filled_ && !(in_frame_ && was_full_)) {
      if (in_frame_) damaged("its compressed data ends too early");
      return false;
    }
    out.resize(before + kChunk);
    char* to = out.data() + before;
    const std::size_t made = gzip_ ? inflate_some(to) : zstd_ ? decompress_some(to) : copy_some(to);
    was_full_ = made == kChunk;
    out.resize(before + made);
  }
  return true;
}

std::size_t FileInput::copy_some(char* out) {
  const std::size_t made = std::min(filled_ - taken_, kChunk);
  std::copy_n(chunk_.data() + taken_, made, out);
  taken_ += made;
  return made;
}

std::size_t FileInput::inflate_some(char* out) {
  if (!in_frame_) {
    // A member may be followed by zero bytes, as tapes are padded with, and by another member.
    if (!gzip_->first_member)
      while (taken_ < filled_ && chunk_[taken_] == '\0') ++taken_;
    if (taken_ == filled_) return 0;
    if (chunk_[taken_] != '\x1F') damaged("something that is not gzip follows its gzip data");
    gzip_->first_member = false;
  }
  z_stream& stream = gzip_->stream;
  stream.next_in = reinterpret_cast<Bytef*>(chunk_.data() + taken_);
  stream.avail_in = static_cast<uInt>(filled_ - taken_);
  stream.next_out = reinterpret_cast<Bytef*>(out);
  stream.avail_out = kChunk;
  const int status = inflate(&stream, Z_NO_FLUSH);
  if (status != Z_OK && status != Z_STREAM_END && status != Z_BUF_ERROR)
    damaged(
        fmt::format("its gzip data is damaged: {}", stream.msg ? stream.msg : "no reason given"));
  in_frame_ = status != Z_STREAM_END;
  taken_ = filled_ - stream.avail_in;
  if (!in_frame_) inflateReset(&stream);  // a file of several members is one stream
  return kChunk - stream.avail_out;
}

std::size_t FileInput::decompress_some(char* out) {
  ZSTD_inBuffer in{chunk_.data() + taken_, filled_ - taken_, 0};
  ZSTD_outBuffer to{out, kChunk, 0};
  const std::size_t left = ZSTD_decompressStream(zstd_->stream, &to, &in);
  if (ZSTD_isError(left)) {
    const auto refuse = [&](const char* what) {
      throw InputError(fmt::format("{}: {}", file_.path().string(), what));
    };
    switch (ZSTD_getErrorCode(left)) {
      case ZSTD_error_prefix_unknown:
        damaged(in_frame_ ? "its zstd data is damaged"
                          : "something that is not zstd follows its zstd data");
      case ZSTD_error_dictionary_wrong:
        refuse("it was compressed with a dictionary, which is not read here; compress it without");
        break;
      case ZSTD_error_frameParameter_windowTooLarge:
        refuse("its zstd window is larger than 2 GiB; compress it with --long=31 at the most");
        break;
      case ZSTD_error_memory_allocation:
        refuse("there is no memory for its zstd window; compress it without --long");
        break;
      default:
        damaged(std::string("its zstd data is damaged: ") + ZSTD_getErrorName(left));
    }
  }
  in_frame_ = left != 0;
  taken_ += in.pos;
  return to.pos;
}

}  // namespace eyrie::base
