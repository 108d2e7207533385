// How much a model is, from its configuration alone: parameters by kind, the state of a sequence,
// FLOPs a token. Nothing here allocates weights. (What training takes: pass_size.h, and
// trainer/mesh_plan.h.)
#pragma once

#include <cstdint>

#include "model/griffin.h"

namespace eyrie::model {

// Elements.
struct ParameterKinds {
  std::int64_t embedding = 0;  // the tied table: lookup and output layer
  std::int64_t linear = 0, convolution = 0, gates = 0, decay = 0;  // of the recurrent blocks
  std::int64_t attention = 0, mlp = 0, norms = 0;
  std::int64_t all() const;
};
ParameterKinds parameter_kinds(const Griffin& griffin);

// Bytes of what a model keeps of one sequence. A recurrent layer: R fp32 and the last 3 convolution
// inputs. Local attention: keys and values of the W + 1 tokens that a query sees. Global attention:
// keys and values of every token, which is the only part that grows.
struct StateBytes {
  std::int64_t fixed = 0;
  std::int64_t a_token = 0;
};
StateBytes state_bytes(const GriffinConfig& config, tensor::DType compute);

// FLOPs a token, forward and backward, in sequences of `length` tokens that are one document each.
struct TokenFlops {
  // 6 for every weight of a matrix product: projections, MLP, gate blocks, and the output layer's
  // table (vocabulary · width; its lookup costs nothing).
  double products = 0;
  // 12 · width for every pair of a query and a key that it sees: q·k and p·v, twice again backward.
  double attention = 0;
  // 36 for every channel of a recurrent layer: 12 of the recurrence (h = a h + m (i u) and what
  // goes back through it), 24 of the convolution. Listed, but not part of all().
  double recurrence = 0;
  double all() const { return products + attention; }
};
TokenFlops token_flops(const Griffin& griffin, std::int64_t length);

}  // namespace eyrie::model
