// The tiles in which the CPU computes attention, and their temporary memory. Threads take whole
// tiles of queries, so that each works in its own cache; how the sums are split depends on the
// sizes alone.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "tensor/arena.h"
#include "tensor/ops/attention.h"
#include "tensor/threads.h"

namespace eyrie::tensor::cpu {

// A row of a tile is one head of one query.
constexpr std::int64_t kTileRows = 256;
// The backward pass takes a tile's keys in blocks of this many.
constexpr std::int64_t kKeyBlock = 512;
// Spans are multiples of this where there are keys to add: documents have any length, but a library
// creates its kernels anew for each size of a product.
constexpr std::int64_t kSpanStep = 64;

inline std::int64_t queries_per_tile(const AttentionShape& shape) {
  return std::clamp<std::int64_t>(kTileRows / shape.heads, 8, 128);
}

// Tiles in which one thread adds up the gradients of keys and values. A group is large enough that
// adding the groups costs little, and groups are few where every key is seen: their memory is at
// most 9 times that of dk and dv.
inline std::int64_t queries_per_group(const AttentionShape& shape) {
  const std::int64_t tile = queries_per_tile(shape);
  const std::int64_t least = std::max(1024 / shape.heads, std::min(shape.reach, shape.keys) / 8);
  return (least + tile - 1) / tile * tile;
}

// Queries [begin, begin + count) of one sequence, and keys [low, high), among them all that any of
// the queries attends to.
struct QueryRange {
  std::int64_t sequence, begin, count, low, high;
  std::int64_t span() const { return high - low; }
};

// At most `most` queries, the first of which sees keys from `first_key` on.
inline QueryRange query_range(const AttentionShape& shape, std::int64_t sequence,
                              std::int64_t begin, std::int64_t most, std::int64_t first_key) {
  const std::int64_t count = std::min(most, shape.queries - begin);
  const std::int64_t high = shape.keys - shape.queries + begin + count;
  const std::int64_t span = (high - first_key + kSpanStep - 1) / kSpanStep * kSpanStep;
  return {sequence, begin, count, std::max<std::int64_t>(high - span, 0), high};
}

// A tile, or a group: its keys include those of each of its tiles, which are rounded up too.
inline QueryRange task_at(const AttentionShape& shape, bool group, std::int64_t sequence,
                          std::int64_t begin, std::int64_t first_key) {
  if (!group) return query_range(shape, sequence, begin, queries_per_tile(shape), first_key);
  return query_range(shape, sequence, begin, queries_per_group(shape),
                     std::max<std::int64_t>(first_key - kSpanStep, 0));
}

// The tiles, or groups, of all sequences. The last ones of long sequences have the most keys and
// come first, so that no thread is left with a large one at the end.
inline std::vector<QueryRange> all_tasks(const AttentionShape& shape, bool groups,
                                         const std::int32_t* first_key) {
  const std::int64_t most = groups ? queries_per_group(shape) : queries_per_tile(shape);
  std::vector<QueryRange> tasks;
  for (std::int64_t i = (shape.queries + most - 1) / most - 1; i >= 0; --i) {
    for (std::int64_t s = 0; s < shape.sequences; ++s)
      tasks.push_back(task_at(shape, groups, s, i * most, first_key[s * shape.queries + i * most]));
  }
  return tasks;
}

// Scores and probabilities (times Σ exp in the forward pass), (rows, keys), with their gradients in
// the backward pass. In fp32 both share memory.
struct TileMemory {
  TileMemory(std::int64_t rows, std::int64_t keys, std::int64_t head_dim, DType dtype,
             bool backward, Arena& scratch)
      : scores(scratch.allocate(DType::kFloat32, rows, keys)),
        dchances(backward ? scratch.allocate(DType::kFloat32, rows, keys) : Tensor()),
        chances(dtype == DType::kFloat32 ? scores : scratch.allocate(dtype, rows, keys)),
        dscores(!backward                  ? Tensor()
                : dtype == DType::kFloat32 ? dchances
                                           : scratch.allocate(dtype, rows, keys)),
        of_rows(scratch.allocate(DType::kFloat32, 1, rows)),
        sums(backward ? Tensor() : scratch.allocate(DType::kFloat32, rows, head_dim)) {}

  // The same memory for fewer rows or keys.
  TileMemory part(std::int64_t rows, std::int64_t keys) const {
    TileMemory part = *this;
    for (Tensor* x : {&part.scores, &part.dchances, &part.chances, &part.dscores})
      if (*x) *x = Tensor(x->data(), x->dtype(), rows, keys);
    if (sums) part.sums = sums.row_range(0, rows);
    return part;
  }

  Tensor scores, dchances, chances, dscores;
  Tensor of_rows;  // forward pass: 1 / Σ exp; backward pass: Σ dO·O
  Tensor sums;     // forward pass: (rows, head_dim), before the division
};

// One memory per thread, for `tasks` tasks, the largest of which has `keys`.
inline std::vector<TileMemory> tile_memories(const AttentionShape& shape, std::int64_t tasks,
                                             std::int64_t keys, DType dtype, bool backward,
                                             Arena& scratch) {
  const std::int64_t rows = std::min(queries_per_tile(shape), shape.queries) * shape.heads;
  std::vector<TileMemory> memories;
  for (std::int64_t i = 0; i < std::min<std::int64_t>(thread_count(), tasks); ++i) {
    memories.emplace_back(rows, backward ? std::min(keys, kKeyBlock) : keys, shape.head_dim, dtype,
                          backward, scratch);
  }
  return memories;
}

// What groups compute of dk and dv: (keys of all of them, head_dim) fp32.
struct KeyGradients {
  Tensor dk, dv;
  KeyGradients rows(std::int64_t begin, std::int64_t count) const {
    return {dk.row_range(begin, count), dv.row_range(begin, count)};
  }
};

inline KeyGradients group_gradients(const AttentionShape& shape, std::int64_t keys,
                                    Arena& scratch) {
  const Tensor dk = scratch.allocate(DType::kFloat32, keys, shape.head_dim);
  return {dk, scratch.allocate(DType::kFloat32, keys, shape.head_dim)};
}

// Allocates and releases what is needed when sequences are one document each, which needs the most.
inline void allocate_tiles(const AttentionShape& shape, DType dtype, bool backward,
                           Arena& scratch) {
  if (shape.queries == 0 || shape.sequences == 0) return;
  const ArenaScope scope(scratch);
  const std::int64_t most = backward ? queries_per_group(shape) : queries_per_tile(shape),
                     tasks = (shape.queries + most - 1) / most, past = shape.keys - shape.queries;
  // Spans grow until the window is full; then all are alike, except the last one.
  std::int64_t keys = 0, all_keys = 0, alike = 1;
  for (std::int64_t i = backward ? 0 : std::max<std::int64_t>(tasks - 2, 0); i < tasks;
       i += alike) {
    const std::int64_t first = past + i * most - shape.reach;
    const bool full = first >= 2 * kSpanStep && i + 1 < tasks;
    alike = full ? tasks - 1 - i : 1;
    const std::int64_t span =
        task_at(shape, backward, 0, i * most, std::max<std::int64_t>(first, 0)).span();
    keys = std::max(keys, span), all_keys += alike * span;
  }
  if (backward && tasks > 1) group_gradients(shape, shape.sequences * all_keys, scratch);
  tile_memories(shape, shape.sequences * tasks, keys, dtype, backward, scratch);
}

}  // namespace eyrie::tensor::cpu
