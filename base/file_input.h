// The bytes of a file as they are without its compression.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/file.h"
#include "base/file_kind.h"

namespace eyrie::base {

// gzip in any number of members, with zero bytes between and behind them; zstd in any number of
// frames, skippable ones too, with windows of up to 2 GiB (zstd --long=31). Not thread-safe.
class FileInput {
 public:
  // InputError: not there, not a regular file, another kind of file than its name says
  // (base/file_kind.h).
  explicit FileInput(const Path& path);
  ~FileInput();

  // Appends up to a MiB of plain bytes; false when there are no more. InputError: cut off or
  // damaged compressed data.
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
  std::uint64_t offset_ = 0;  // of the file, behind what the chunk holds
  std::string chunk_;
  std::size_t taken_ = 0, filled_ = 0;
  bool in_frame_ = false;  // compressed data has begun and not ended
  bool was_full_ = false;  // the last call filled all the room that it was given
  std::unique_ptr<Gzip> gzip_;
  std::unique_ptr<Zstd> zstd_;
};

}  // namespace eyrie::base
