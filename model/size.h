// How much a model is, from its configuration alone: parameters by kind, the state of a sequence,
// FLOPs a token, the memory of a training rank. Nothing here allocates weights.
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

// What one rank runs: micro-shards of `sequences` rows of `length` tokens one after the other,
// `micro_shards` of them a step; the optimizer's moments are shared out over `ranks`.
struct TrainingShape {
  tensor::DType compute = tensor::DType::kBFloat16;
  std::int64_t sequences = 8, length = 2048, micro_shards = 1, ranks = 1;
};

// Bytes of a training rank.
struct TrainingBytes {
  std::int64_t masters = 0;      // fp32
  std::int64_t copies = 0;       // what products read; none in fp32
  std::int64_t gradients = 0;    // fp32, as many as the tree of micro-shards holds at once
  std::int64_t moments = 0;      // fp32, two, this rank's share
  std::int64_t activations = 0;  // what the forward pass keeps for the backward pass
  std::int64_t logits = 0;       // of one piece of the batch and their gradient
  std::int64_t backward = 0;     // gradients of activations on their way down
  std::int64_t exchange = 0;     // 2 MB for every other rank
  // Logits and backward are the same memory at different times.
  std::int64_t all() const;
};
TrainingBytes training_bytes(const Griffin& griffin, const TrainingShape& shape);

}  // namespace eyrie::model
