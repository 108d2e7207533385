// The manifest of a checkpoint: what it holds and where (docs/formats/checkpoint.md). Internal.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "checkpoint/format.h"

namespace eyrie::checkpoint {

struct ManifestPiece {
  std::size_t file;      // index in Manifest::files
  std::uint64_t offset;  // of the data in it, in bytes
  std::uint64_t checksum;
  TensorRange range;
};

struct ManifestTensor {
  std::vector<std::int64_t> shape;
  PieceType type;
  std::vector<ManifestPiece> pieces;
};

struct Manifest {
  std::int64_t step = 0;
  std::string state;  // JSON
  std::vector<std::string> files;
  std::map<std::string, ManifestTensor> tensors;
};

// Reads the manifest and looks at the presence and size of every file. For version 1 it also opens
// every file, to find its pieces. Throws DamagedCheckpoint.
Manifest read_manifest(const base::Path& directory);

// Opens a file and compares what it says of its pieces with the manifest, and its checksum footer.
// Throws DamagedCheckpoint.
void check_file(const base::Path& directory, const Manifest& manifest, std::size_t file);

// An error for a file of a checkpoint, with the advice to use another.
DamagedCheckpoint damaged(const base::Path& path, const std::string& message);

}  // namespace eyrie::checkpoint
