// The size of a model, from its configuration alone: parameters by kind, state bytes per sequence,
// FLOPs per token. Nothing here allocates weights. (For the memory of training see planning/.)
#pragma once

#include <cstdint>

#include "model/griffin.h"

namespace eyrie::model {

// Counts of elements.
struct ParameterKinds {
  std::int64_t embedding = 0;  // the tied table: lookup and output layer
  std::int64_t linear = 0, convolution = 0, gates = 0, decay = 0;  // of the recurrent blocks
  std::int64_t attention = 0, mlp = 0, norms = 0;
  std::int64_t all() const;
};
ParameterKinds parameter_kinds(const Griffin& griffin);

// Bytes of state per sequence. A recurrent layer keeps R fp32 and the last 3 convolution inputs;
// local attention the keys and values of the W + 1 tokens that a query sees; global attention those
// of every token, the only part that grows (`per_token` bytes per token).
struct StateBytes {
  std::int64_t fixed = 0;
  std::int64_t per_token = 0;
};
StateBytes state_bytes(const GriffinConfig& config, tensor::DType compute);

// FLOPs per token of the whole model, forward and backward, in sequences of `length` tokens that
// are one document each.
struct TokenFlops {
  // 6 per weight of a matrix product: projections, MLP, gate blocks, and the output layer's table
  // (vocabulary · width; its lookup costs nothing).
  double products = 0;
  // 12 · width per pair of a query and a key that it sees: q·k and p·v, and twice that backward.
  double attention = 0;
  // 36 per channel of a recurrent layer: 12 for the recurrence (h = a h + m (i u), and its backward
  // pass), 24 for the convolution. Reported, but not part of all().
  double recurrence = 0;
  double all() const { return products + attention; }
};
TokenFlops token_flops(const Griffin& griffin, std::int64_t length);

}  // namespace eyrie::model
