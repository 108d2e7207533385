// The walk through a training pass behind pass_size(), internal to its source files. Names, order
// and scopes are those of griffin.cc and of the blocks.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "model/parallel_context.h"
#include "model/pass_size.h"
#include "parallel/communication/activations.h"
#include "tensor/arena.h"

namespace eyrie::model {

// An arena without memory, laid out twice: in its real chunks, and in one endless chunk.
class GhostArena {
 public:
  GhostArena() : endless_(std::size_t{1} << 60) {}
  void take(std::int64_t bytes) {
    chunks_.place(static_cast<std::size_t>(bytes));
    endless_.place(static_cast<std::size_t>(bytes));
    phase_ = std::max(phase_, endless_.mark().used);
  }
  struct Mark {
    tensor::ArenaLayout::Mark chunks, endless;
  };
  Mark mark() const { return {chunks_.mark(), endless_.mark()}; }
  void release(const Mark& mark) {
    chunks_.release(mark.chunks);
    endless_.release(mark.endless);
  }
  std::int64_t held() const { return static_cast<std::int64_t>(chunks_.held_bytes()); }
  std::int64_t touched() const { return static_cast<std::int64_t>(chunks_.touched_bytes()); }
  std::int64_t peak() const { return static_cast<std::int64_t>(endless_.peak_bytes()); }
  // The most that was allocated at once since the last call.
  std::int64_t phase() {
    return static_cast<std::int64_t>(std::exchange(phase_, endless_.mark().used));
  }

 private:
  tensor::ArenaLayout chunks_, endless_;
  std::size_t phase_ = 0;
};

class PassWalk {
 public:
  PassWalk(const GriffinConfig& config, const PassShape& shape)
      : config_(config),
        shape_(shape),
        dims_(config, shape.tensor_rank, shape.tensor_ranks),
        piece_(parallel::part_of(shape.length, shape.context_ranks, shape.context_rank)),
        n_(shape.sequences * piece_.count),
        rows_(shape.sequence ? parallel::part_of(n_, shape.tensor_ranks, shape.tensor_rank).count
                             : n_),
        c_(size_of(shape.compute)),
        cut_(shape.context_ranks > 1),
        split_(shape.tensor_ranks > 1),
        gathers_(shape.sequence && split_) {}

  void pass();
  PassSize size() const {
    PassSize size = size_;
    size.saved_held = saved_.held();
    size.scratch_held = scratch_.held();
    size.saved_touched = saved_.touched();
    size.scratch_touched = scratch_.touched();
    size.activations = saved_.peak();
    return size;
  }

 private:
  void to_block(std::int64_t element);
  void block_output();
  void from_block(std::int64_t comm_bytes);
  void reduce_scatter(std::int64_t comm_bytes, bool in_place);
  void neighbour(std::int64_t element, bool sends);
  void fold();
  void past_keys(std::size_t layer, std::int64_t element, bool back);
  void tiles(std::size_t layer, bool backward);
  void recurrent_forward();
  void recurrent_backward();
  void attention_forward(std::size_t layer);
  void attention_backward(std::size_t layer);
  void head();
  void norm(bool sums);
  void forward_block(std::size_t layer, bool sums_first, bool keeps);
  void forward();
  void backward();

  const GriffinConfig& config_;
  const PassShape& shape_;
  const LocalDims dims_;
  const parallel::Part piece_;
  const std::int64_t n_, rows_, c_;
  const bool cut_, split_, gathers_;
  GhostArena saved_, scratch_;
  std::vector<GhostArena::Mark> before_;  // before each block, in saved_
  PassSize size_;
};

}  // namespace eyrie::model
