// The memory and communication of one pass on one rank, without running it: a walk through the same
// layers that mirrors every allocation and message of griffin.cc. Whoever changes what a layer
// keeps, allocates or sends must change it here too; tests compare the two to the byte.
#pragma once

#include <cstdint>

#include "model/config.h"
#include "tensor/dtype.h"

namespace eyrie::model {

// `sequences` whole sequences of `length` tokens; the rank's position on the context and tensor
// axes.
struct PassShape {
  tensor::DType compute = tensor::DType::kBFloat16;
  std::int64_t sequences = 1, length = 2048;
  int context_rank = 0, context_ranks = 1;
  int tensor_rank = 0, tensor_ranks = 1;
  bool sequence = false;   // sequence parallel: tensor ranks split norms and the residual stream
  bool training = true;    // false: the loss only
  bool recompute = false;  // activation recomputation in the backward pass
};

// Bytes, except for the exchanges. The first two are what a Workspace's arenas hold, the next two
// how much of that is ever touched, the three after them how much is allocated at once, without
// what is lost at the ends of chunks.
struct PassSize {
  std::int64_t saved_held = 0, scratch_held = 0;
  std::int64_t saved_touched = 0, scratch_touched = 0;
  std::int64_t activations = 0;  // kept for the backward pass
  std::int64_t logits = 0;       // scratch of the head: a chunk of logits and its gradient
  std::int64_t backward = 0;     // scratch of the blocks, not at the same time
  std::int64_t context_sent = 0, tensor_sent = 0;            // payload
  std::int64_t context_exchanges = 0, tensor_exchanges = 0;  // that the pass waits for
};

// Attention is counted for sequences that are one document each, which needs the most.
PassSize pass_size(const GriffinConfig& config, const PassShape& shape);

}  // namespace eyrie::model
