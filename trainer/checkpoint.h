// Checkpoints: global tensors in pieces of any layout, one HDF5 file a writing rank, committed by a
// manifest that is written last. The format: docs/formats/checkpoint.md.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/file.h"
#include "parallel/communicator.h"

namespace eyrie::trainer {

enum class PieceType { kFloat32, kBFloat16, kInt32, kUint8 };

// Elements [flat_begin, flat_begin + flat_count) in row-major order of a rectangle of a tensor.
struct TensorRange {
  std::vector<std::int64_t> start, extent;  // one number an axis; none for a single value
  std::int64_t flat_begin = 0;
  std::int64_t flat_count = 0;
};

// What one rank holds of a tensor. Does not own `data`: flat_count elements.
struct TensorPiece {
  std::string name;
  std::vector<std::int64_t> global_shape, start, extent;
  std::int64_t flat_begin = 0;
  std::int64_t flat_count = 0;
  const void* data = nullptr;
  PieceType type = PieceType::kFloat32;
};

// runs/NAME/checkpoints/step-00000200
base::Path checkpoint_path(const base::Path& run_directory, std::int64_t step);

// Collective. Writes the pieces of all ranks into `directory` and commits. `state_json` (a JSON
// object; rank 0's counts) comes back from CheckpointReader::state(). Together the pieces must
// cover every tensor that any rank names; a replicated tensor is best passed by one rank only.
// Throws on all ranks alike: base::Error for a full or failing disk, for values that are not
// finite, and for tensors that are not covered. Then `directory` is as it was before (or absent, if
// it held an unfinished save), and no other checkpoint was touched.
// `may_write` (may be empty) is called on every rank before it changes anything below `directory`
// and before each file appears there; what it throws ends the save, and nothing is touched any
// more.
void save_checkpoint(const base::Path& directory, parallel::Communicator& communicator,
                     std::span<const TensorPiece> mine, std::int64_t step,
                     const std::string& state_json, const std::function<void()>& may_write = {});

// A committed checkpoint, open for reading at any layout. Thread-safe. Everything wrong with it is
// a base::InputError that names file and tensor and says to use an older checkpoint.
class CheckpointReader {
 public:
  // Checks everything but the data itself.
  explicit CheckpointReader(const base::Path& directory);

  std::int64_t step() const { return step_; }
  const std::string& state() const { return state_; }  // JSON
  const base::Path& directory() const { return directory_; }

  std::vector<std::string> names() const;  // of all tensors, sorted
  bool has(const std::string& name) const { return tensors_.contains(name); }
  const std::vector<std::int64_t>& shape(const std::string& name) const;
  PieceType type(const std::string& name) const;

  // Fills out[0 … range.flat_count) from whatever pieces hold it; verifies the checksum of every
  // piece touched. InputError also for a tensor that is not there or not of the type of `out`.
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

  // The checksum of every piece, and that every tensor is covered. Ranks may share the work: this
  // one checks file `part`, `part + parts`, …
  void verify(int part = 0, int parts = 1) const;
  void verify(const std::string& name) const;  // the same of one tensor

  // As read(), of fp32 and without checksums: for reading a tensor in small parts after verify(),
  // where read() would read its whole pieces every time.
  void read_verified(const std::string& name, const TensorRange& range, float* out) const;

 private:
  struct Piece {
    std::size_t file;      // of files_
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

struct CheckpointInfo {
  base::Path path;
  std::int64_t step;
  bool complete;  // has a manifest; nothing else is checked
};

// By step, oldest first; empty where the directory is not there.
std::vector<CheckpointInfo> list_checkpoints(const base::Path& checkpoints_directory);

// For commands that read a run: its newest valid checkpoint; what was passed over is logged.
// InputError: there is none.
base::Path open_newest_checkpoint(const base::Path& run_directory);

// The newest checkpoint of a run whose every checksum holds. `why_not` gets a message for each
// newer one that was passed over. The second form is collective, shares the checking among the
// ranks and gives all the same answer.
std::optional<base::Path> newest_valid_checkpoint(const base::Path& run_directory,
                                                  std::vector<std::string>* why_not = nullptr);
std::optional<base::Path> newest_valid_checkpoint(
    const base::Path& run_directory, parallel::Communicator& communicator,
    std::vector<std::string>* why_not = nullptr,
    const std::function<bool(std::int64_t step)>& wanted = {});  // empty: all;

}  // namespace eyrie::trainer
