// What a checkpoint is made of: pieces of global tensors, in any layout. The format:
// docs/formats/checkpoint.md.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace eyrie::checkpoint {

enum class PieceType { kFloat32, kBFloat16, kInt32, kUint8 };

// Elements [flat_begin, flat_begin + flat_count) in row-major order of a rectangle of a tensor.
struct TensorRange {
  std::vector<std::int64_t> start, extent;  // one number per axis; empty for a scalar
  std::int64_t flat_begin = 0;
  std::int64_t flat_count = 0;
};

// One rank's piece of a tensor. Does not own `data`, which has flat_count elements.
struct TensorPiece {
  std::string name;
  std::vector<std::int64_t> global_shape, start, extent;
  std::int64_t flat_begin = 0;
  std::int64_t flat_count = 0;
  const void* data = nullptr;
  PieceType type = PieceType::kFloat32;
};

}  // namespace eyrie::checkpoint
