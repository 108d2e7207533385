// The tiles in which the CPU computes attention, and their temporary memory: scores exist for one
// tile of queries at a time.
#pragma once

#include <algorithm>
#include <cstdint>

#include "tensor/arena.h"
#include "tensor/ops/attention.h"

namespace eyrie::tensor::cpu {

inline std::int64_t queries_per_tile(const AttentionShape& shape) {
  return std::clamp<std::int64_t>(256 / shape.heads, 8, 128);
}

// Scores and probabilities, (rows, keys), with their gradients in the backward pass. In fp32 both
// share memory.
struct TileMemory {
  TileMemory(std::int64_t rows, std::int64_t keys, DType dtype, bool backward, Arena& scratch)
      : scores(scratch.allocate(DType::kFloat32, rows, keys)),
        dchances(backward ? scratch.allocate(DType::kFloat32, rows, keys) : Tensor()),
        chances(dtype == DType::kFloat32 ? scores : scratch.allocate(dtype, rows, keys)),
        dscores(!backward                  ? Tensor()
                : dtype == DType::kFloat32 ? dchances
                                           : scratch.allocate(dtype, rows, keys)) {}
  Tensor scores, dchances, chances, dscores;
};

// Allocates and releases what the tiles need when sequences are one document each, which needs the
// most.
inline void allocate_tiles(const AttentionShape& shape, DType dtype, bool backward,
                           Arena& scratch) {
  const std::int64_t queries = queries_per_tile(shape), past = shape.keys - shape.queries;
  for (std::int64_t begin = 0; begin < shape.queries; begin += queries) {
    const std::int64_t count = std::min(queries, shape.queries - begin);
    const ArenaScope scope(scratch);
    TileMemory(count * shape.heads, count + std::min(past + begin, shape.reach), dtype, backward,
               scratch);
    // Once the window is full all tiles are alike, except the last one.
    const std::int64_t left = (shape.queries - begin - 1) / queries;
    if (left > 1 && past + begin >= shape.reach) begin += (left - 1) * queries;
  }
}

}  // namespace eyrie::tensor::cpu
