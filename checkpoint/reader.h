// Reading a checkpoint in any layout.
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/file.h"
#include "checkpoint/manifest.h"

namespace eyrie::checkpoint {

// A committed checkpoint, open for reading in any layout. Thread-safe. Throws DamagedCheckpoint for
// what is wrong with it, naming file and tensor and advising to use an older checkpoint.
class CheckpointReader {
 public:
  // Checks everything except the files' contents, and opens no file but the manifest (of version 1:
  // all).
  explicit CheckpointReader(const base::Path& directory);

  std::int64_t step() const { return manifest_.step; }
  const std::string& state() const { return manifest_.state; }  // JSON
  const base::Path& directory() const { return directory_; }

  std::vector<std::string> names() const;  // of all tensors, sorted
  bool has(const std::string& name) const { return manifest_.tensors.contains(name); }
  const std::vector<std::int64_t>& shape(const std::string& name) const;
  PieceType type(const std::string& name) const;

  // Fills out[0 … range.flat_count) from whatever pieces hold it; verifies the checksum of every
  // piece when it is first touched. Of pieces of up to 256 MiB the last one is kept, so that
  // reading a tensor part by part reads every byte once. Throws InputError also if there is no such
  // tensor or it does not have the type of `out`.
  void read(const std::string& name, const TensorRange& range, float* out) const;
  void read(const std::string& name, const TensorRange& range, std::int32_t* out) const;
  void read(const std::string& name, const TensorRange& range, std::uint16_t* out) const;  // bf16
  void read(const std::string& name, const TensorRange& range, std::uint8_t* out) const;
  void read(const std::string& name, const std::vector<std::int64_t>& start,
            const std::vector<std::int64_t>& extent, std::int64_t flat_begin,
            std::int64_t flat_count, float* out) const {
    read(name, TensorRange{start, extent, flat_begin, flat_count}, out);
  }
  void read_all(const std::string& name, float* out) const;  // the whole tensor

  // Verifies every file and the checksum of every piece, and that every tensor is covered. Ranks
  // may divide the work: this call checks files `part`, `part + parts`, …
  void verify(int part = 0, int parts = 1) const;
  // The same for all files, of which it returns what is wrong with each file and each tensor.
  std::vector<std::string> faults() const;

 private:
  const ManifestTensor& find(const std::string& name) const;
  void read_bytes(const std::string& name, PieceType type, const TensorRange& range,
                  std::byte* out) const;
  void copy(const std::string& name, const ManifestTensor& tensor, const ManifestPiece& piece,
            const std::vector<Copy>& copies, std::byte* out) const;
  void verify_tensor(const std::string& name, const ManifestTensor& tensor, int part,
                     int parts) const;
  const base::File& open(std::size_t file) const;
  void check(const std::string& name, const ManifestPiece& piece, std::uint64_t hash) const;
  std::uint64_t hash_of(const ManifestPiece& piece, std::uint64_t bytes) const;

  base::Path directory_;
  Manifest manifest_;

  mutable std::mutex mutex_;  // guards all below
  mutable std::optional<base::File> open_;
  mutable std::size_t open_number_ = 0;
  mutable std::set<const ManifestPiece*> verified_;
  mutable const ManifestPiece* kept_ = nullptr;  // whose bytes these are:
  mutable std::vector<std::byte> bytes_;
};

}  // namespace eyrie::checkpoint
