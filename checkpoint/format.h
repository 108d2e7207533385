// What the writer and the reader of checkpoints share: names, types, and the arithmetic of flat
// ranges inside rectangles. Internal.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/hdf5_file.h"
#include "checkpoint/tensor_piece.h"

namespace eyrie::checkpoint {

constexpr const char* kCheckpointFormat = "eyrie-checkpoint";
constexpr std::int64_t kCheckpointVersion = 2;  // 1 can be read too
constexpr std::int64_t kShardFileVersion = 1;
constexpr const char* kManifestName = "manifest.json";
constexpr const char* kReplacedSuffix = ".replaced";
constexpr const char* kCheckpointAdvice = "use an older checkpoint, or put back a copy of this one";

const char* name_of(PieceType type);
PieceType piece_type_from(const std::string& name);  // throws InputError
base::Hdf5Type stored_type(PieceType type);

// Returns the trainer's state (JSON) from a manifest whose checksum matches. Reads no other file.
std::string read_state(const base::Path& directory);  // throws InputError

// Thrown for a checkpoint that is damaged, unfinished, or of an unknown version.
class DamagedCheckpoint : public base::InputError {
 public:
  using base::InputError::InputError;
};

// Whether no axis is negative and the size in bytes fits 63 bits.
bool is_shape(const std::vector<std::int64_t>& axes);

// Returns the product of the axes of a shape; 1 if it has none.
std::int64_t elements_of(const std::vector<std::int64_t>& shape);

// Whether the range lies inside a tensor of this shape.
bool fits(const TensorRange& range, const std::vector<std::int64_t>& global_shape);

// "blocks.0/w float32 [4, 6] [0, 2] [4, 3] 5 7 0123456789abcdef\n": a piece of a file, for
// comparison.
std::string describe_piece(const std::string& name, PieceType type,
                           const std::vector<std::int64_t>& global_shape, const TensorRange& range,
                           const std::string& checksum);

// `count` elements at `from` in one range are at `to` in another.
struct Copy {
  std::int64_t from, to, count;
};
// Returns the elements of `target` that `source` has, both ranges of one tensor; positions count
// from flat_begin.
std::vector<Copy> copies_between(const TensorRange& source, const TensorRange& target);

// Returns the first position of [0, count) that no copy writes; count if there is none. Sorts
// `copies`.
std::int64_t first_gap(std::vector<Copy>& copies, std::int64_t count);

}  // namespace eyrie::checkpoint
