// How a model is divided over ranks. A tensor rank owns whole heads, whole gate blocks, columns of
// the MLP and rows of the vocabulary; a context rank owns a piece of every sequence (Griffin paper,
// section 4.2; row, column and sequence parallelism as in Shoeybi et al. 2019 and Korthikanti et
// al. 2022).
#pragma once

#include <cstdint>

#include "model/config.h"
#include "parallel/communication/collectives.h"
#include "parallel/sharding/mesh.h"

namespace eyrie::model {

// The communicators that a model's passes use. Not owned; null: this rank alone.
struct ParallelContext {
  parallel::Communicator* tensor = nullptr;
  parallel::Communicator* context = nullptr;
  bool sequence = false;  // sequence parallel: tensor ranks split norms and the residual stream

  static ParallelContext of(const parallel::Mesh& mesh) {
    return {&mesh.tensor(), &mesh.context(), mesh.shape().sequence};
  }
  // For evaluation: every context rank reads whole sequences of its own.
  static ParallelContext whole_sequences(const parallel::Mesh& mesh) {
    return {&mesh.tensor(), nullptr, mesh.shape().sequence};
  }
  int tensor_ranks() const { return tensor == nullptr ? 1 : tensor->size(); }
  int tensor_rank() const { return tensor == nullptr ? 0 : tensor->rank(); }
  int context_ranks() const { return context == nullptr ? 1 : context->size(); }
  int context_rank() const { return context == nullptr ? 0 : context->rank(); }
};

// A dimension of a parameter: its global size, and this rank's part.
struct ShardedDim {
  std::int64_t global;
  parallel::Part part;
  explicit ShardedDim(std::int64_t whole) : global(whole), part{0, whole} {}
  ShardedDim(std::int64_t whole, parallel::Part own) : global(whole), part(own) {}
  std::int64_t local() const { return part.count; }
  bool is_sharded() const { return part.count != global; }
};

// The dimensions that this tensor rank computes with.
struct LocalDims {
  LocalDims(const GriffinConfig& config, int tensor_rank, int tensor_ranks);
  std::int64_t head_dim;
  ShardedDim width, keys;  // whole on every rank; keys: width of the one key (or value) head
  ShardedDim vocabulary, rnn, gate_blocks, mlp, heads, queries;
  std::int64_t gate_block;  // channels per gate block
  int tensor_rank, tensor_ranks;
  bool first() const { return tensor_rank == 0; }  // adds what one rank alone must add
};

// Throws InputError, with the sizes and the counts that would fit, if the model cannot be divided
// over this many tensor ranks.
void check_tensor_ranks(const GriffinConfig& config, int tensor_ranks);
bool tensor_ranks_fit(const GriffinConfig& config, int tensor_ranks);

}  // namespace eyrie::model
