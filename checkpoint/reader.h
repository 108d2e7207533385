// Reading a checkpoint in any layout.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/file.h"
#include "checkpoint/tensor_piece.h"

namespace eyrie::checkpoint {

// A committed checkpoint, open for reading in any layout. Thread-safe. Throws base::InputError for
// everything wrong with it, naming file and tensor and advising to use an older checkpoint.
class CheckpointReader {
 public:
  // Checks everything except the data itself.
  explicit CheckpointReader(const base::Path& directory);

  std::int64_t step() const { return step_; }
  const std::string& state() const { return state_; }  // JSON
  const base::Path& directory() const { return directory_; }

  std::vector<std::string> names() const;  // of all tensors, sorted
  bool has(const std::string& name) const { return tensors_.contains(name); }
  const std::vector<std::int64_t>& shape(const std::string& name) const;
  PieceType type(const std::string& name) const;

  // Fills out[0 … range.flat_count) from whatever pieces hold it; verifies the checksum of every
  // piece touched. Throws InputError also if there is no such tensor or it does not have the type
  // of `out`.
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

  // Verifies the checksum of every piece, and that every tensor is covered. Ranks may divide the
  // work: this call checks files `part`, `part + parts`, …
  void verify(int part = 0, int parts = 1) const;
  void verify(const std::string& name) const;  // the same for one tensor

  // As read(), for fp32 and without checksums: for reading a tensor in small parts after verify(),
  // where read() would read whole pieces every time.
  void read_verified(const std::string& name, const TensorRange& range, float* out) const;

 private:
  struct Piece {
    std::size_t file;      // index in files_
    std::uint64_t offset;  // of the data in it, in bytes
    std::uint64_t checksum;
    TensorRange range;
  };
  struct Tensor {
    std::vector<std::int64_t> shape;
    PieceType type;
    std::vector<Piece> pieces;
  };

  const Tensor& find(const std::string& name) const;
  void read_file(std::size_t file, std::uint64_t bytes, std::int64_t pieces,
                 const std::string& fingerprint);
  void read_bytes(const std::string& name, PieceType type, const TensorRange& range, std::byte* out,
                  bool check) const;
  void verify_pieces(const std::string& name, const Tensor& tensor, int part, int parts) const;
  std::vector<std::byte> read_piece(const std::string& name, const Tensor& tensor,
                                    const Piece& piece) const;

  base::Path directory_;
  std::int64_t step_ = 0;
  std::string state_;
  std::vector<std::string> files_;
  std::map<std::string, Tensor> tensors_;
};

}  // namespace eyrie::checkpoint
