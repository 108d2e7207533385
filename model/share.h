// One rank's share of a model. Tensor ranks own whole heads, whole gate blocks, columns of the MLP
// and rows of the vocabulary; context ranks own pieces of every sequence (Griffin paper, section
// 4.2, for the sharding; Shoeybi et al. 2019 and Korthikanti et al. 2022 for rows, columns and
// sequence).
#pragma once

#include <cstdint>

#include "model/config.h"
#include "parallel/activations.h"
#include "parallel/mesh.h"

namespace eyrie::model {

// The ranks that a model's passes talk to. Communicators are not owned; null: this rank alone.
struct Share {
  parallel::Communicator* tensor = nullptr;
  parallel::Communicator* context = nullptr;
  bool sequence = false;  // norms and the residual stream are split over the tensor ranks
  // Where nothing is run, as in planning, there are no communicators.
  int planned_tensor_rank = 0, planned_tensor_ranks = 1;

  static Share planned(int tensor_rank, int tensor_ranks, bool sequence) {
    return {nullptr, nullptr, sequence, tensor_rank, tensor_ranks};
  }
  static Share of(const parallel::Mesh& mesh) {
    return {&mesh.tensor(), &mesh.context(), mesh.shape().sequence};
  }
  // For evaluation: every context rank reads whole sequences of its own.
  static Share whole_sequences(const parallel::Mesh& mesh) {
    return {&mesh.tensor(), nullptr, mesh.shape().sequence};
  }
  int tensor_ranks() const { return tensor == nullptr ? planned_tensor_ranks : tensor->size(); }
  int tensor_rank() const { return tensor == nullptr ? planned_tensor_rank : tensor->rank(); }
  int context_ranks() const { return context == nullptr ? 1 : context->size(); }
  int context_rank() const { return context == nullptr ? 0 : context->rank(); }
};

// A dimension of a parameter: all of it, and this rank's part.
struct Dimension {
  std::int64_t all;
  parallel::Part part;
  explicit Dimension(std::int64_t whole) : all(whole), part{0, whole} {}
  Dimension(std::int64_t whole, parallel::Part own) : all(whole), part(own) {}
  std::int64_t own() const { return part.count; }
  bool split() const { return part.count != all; }
};

// What this rank computes with.
struct Sizes {
  Sizes(const GriffinConfig& config, int tensor_rank, int tensor_ranks);
  std::int64_t head_dim;
  Dimension width, keys;  // on every rank whole; keys: width of the one key (or value) head
  Dimension vocabulary, rnn, gate_blocks, mlp, heads, queries;
  std::int64_t gate_block;  // channels of one block
  int tensor_rank, tensor_ranks;
  bool first() const { return tensor_rank == 0; }  // adds what is to be added once
};

// InputError, with the numbers and what divides, when this many tensor ranks cannot share the
// model.
void check_tensor_ranks(const GriffinConfig& config, int tensor_ranks);
bool tensor_ranks_fit(const GriffinConfig& config, int tensor_ranks);

}  // namespace eyrie::model
