// What the writer and the reader of checkpoints share: names, types, and the arithmetic of flat
// ranges inside rectangles. Not for others.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/hdf5_file.h"
#include "trainer/checkpoint.h"

namespace eyrie::trainer {

constexpr const char* kCheckpointFormat = "eyrie-checkpoint";
constexpr std::int64_t kCheckpointVersion = 1;
constexpr const char* kManifestName = "manifest.json";
constexpr const char* kReplacedSuffix = ".replaced";
constexpr const char* kCheckpointAdvice = "use an older checkpoint, or put back a copy of this one";

const char* name_of(PieceType type);
PieceType piece_type_from(const std::string& name);  // InputError
base::Hdf5Type stored_type(PieceType type);

// The trainer's state (JSON) in a manifest whose checksum holds. Looks at no other file.
std::string read_state(const base::Path& directory);  // InputError

// Why a checkpoint is damaged or unfinished, or "". `thorough`: every checksum too, of the files of
// this part. Error where it cannot be looked at (the disk, permissions): then nothing is known.
std::string fault_of(const base::Path& directory, bool thorough, int part = 0, int parts = 1);

// No axis below 0, and no more elements than 63 bits can count the bytes of.
bool is_shape(const std::vector<std::int64_t>& axes);

// The axes' product, of a shape; 1 for none.
std::int64_t elements_of(const std::vector<std::int64_t>& shape);

// Whether the range is one of a tensor of this shape.
bool fits(const TensorRange& range, const std::vector<std::int64_t>& global_shape);

// "blocks.0/w float32 [4, 6] [0, 2] [4, 3] 5 7 0123456789abcdef\n": a line of a file's fingerprint.
std::string describe_piece(const std::string& name, PieceType type,
                           const std::vector<std::int64_t>& global_shape, const TensorRange& range,
                           const std::string& checksum);

// `count` elements from `from` of one range are at `to` of another.
struct Copy {
  std::int64_t from, to, count;
};
// What `source` has of `target`, both ranges of one tensor; positions count from flat_begin.
std::vector<Copy> copies_between(const TensorRange& source, const TensorRange& target);

// The first position of [0, count) that no copy writes; count when there is none. Sorts `copies`.
std::int64_t first_gap(std::vector<Copy>& copies, std::int64_t count);

}  // namespace eyrie::trainer
