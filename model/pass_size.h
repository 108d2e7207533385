// What one pass of a training rank takes and sends, without computing it: a walk through the same
// layers that places every piece of memory and counts every message of griffin.cc. Whoever changes
// what a layer keeps, borrows or sends changes it here too; tests hold the two together to the
// byte.
#pragma once

#include <cstdint>

#include "model/config.h"
#include "tensor/dtype.h"

namespace eyrie::model {

// `sequences` rows of `length` tokens, whole; the rank's place on the axes that share them.
struct PassShape {
  tensor::DType compute = tensor::DType::kBFloat16;
  std::int64_t sequences = 1, length = 2048;
  int context_rank = 0, context_ranks = 1;
  int tensor_rank = 0, tensor_ranks = 1;
  bool sequence = false;   // norms and the residual stream are split over the tensor ranks
  bool training = true;    // or the loss alone
  bool recompute = false;  // blocks run again before their backward pass, instead of kept
};

// Bytes. The first two are what a Workspace's arenas hold, the next two how much of that is ever
// touched, the three after them what they hand out at once, without the seams between their chunks.
struct PassSize {
  std::int64_t saved_held = 0, scratch_held = 0;
  std::int64_t saved_touched = 0, scratch_touched = 0;
  std::int64_t activations = 0;  // kept for the backward pass
  std::int64_t logits = 0;       // scratch of the head: a piece of the logits, and their gradient
  std::int64_t backward = 0;     // scratch of the blocks, at another time
  std::int64_t context_sent = 0, tensor_sent = 0;            // payload
  std::int64_t context_exchanges = 0, tensor_exchanges = 0;  // that the pass waits for
};

// Attention is counted for sequences that are one document each, which needs the most.
PassSize pass_size(const GriffinConfig& config, const PassShape& shape);

}  // namespace eyrie::model
