// The bytes of a file, decompressed if it is compressed.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/file.h"
#include "base/file_kind.h"

namespace eyrie::base {

// Reads gzip with any number of members and with zero bytes between and after them, and zstd with
// any number of frames, also skippable ones, and windows of up to 2 GiB (zstd --long=31). Not
// thread-safe.
class FileInput {
 public:
  // Throws InputError: missing, not a regular file, or not the kind of file that its name says
  // (base/file_kind.h).
  explicit FileInput(const Path& path);
  ~FileInput();

  // Appends up to 1 MiB of decompressed bytes. Returns false at the end. Throws InputError if
  // compressed data is truncated or damaged.
  bool read(std::string& out);
  std::uint64_t consumed() const { return offset_ - (filled_ - taken_); }  // bytes of the file

 private:
  struct Gzip;
  struct Zstd;
  void refill();
  std::size_t copy_some(char* out);
  std::size_t inflate_some(char* out);
  std::size_t decompress_some(char* out);
  [[noreturn]] void damaged(const std::string& what) const;

  File file_;
  std::uint64_t size_;
  std::uint64_t offset_ = 0;  // in the file, after what the chunk holds
  std::string chunk_;
  std::size_t taken_ = 0, filled_ = 0;
  bool in_frame_ = false;  // compressed data has begun and not ended
  bool was_full_ = false;  // the last call filled all of its output space
  std::unique_ptr<Gzip> gzip_;
  std::unique_ptr<Zstd> zstd_;
};

}  // namespace eyrie::base
