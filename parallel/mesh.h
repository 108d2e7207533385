// How the ranks of a job are arranged: data × context × tensor, tensor innermost, so that the ranks
// which talk most are neighbours. Rank = (data · contexts + context) · tensors + tensor.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "parallel/communicator.h"

namespace eyrie::parallel {

// What a run asks for. ZeRO shares out over data × context: 0 nothing, 1 the optimizer's moments, 2
// gradients too, 3 parameters too (Rajbhandari et al. 2020). With `replicas` above 1 that happens
// inside as many groups of neighbouring ranks, which hold the same (hybrid sharding); it divides
// `data`.
struct MeshShape {
  int data = 1, context = 1, tensor = 1;
  bool sequence = false;  // norms and residuals are split along the sequence over tensor ranks
  int zero = 1;
  int replicas = 1;
  bool bf16_gradients = false;  // on the wire; sums are made in fp32 all the same

  int ranks() const { return data * context * tensor; }
  int sharers() const { return data * context / replicas; }  // ranks of one sharding group
};

// "data 2 × context 1 × tensor 4, ZeRO 1"; what is as usual is left out.
std::string describe(const MeshShape& shape);

// Payload that a rank sent point to point, by the axis it travelled on.
struct AxisBytes {
  std::int64_t sharing = 0;   // gradients and parameters, inside a sharding group (data × context)
  std::int64_t replicas = 0;  // gradients, between replica groups
  std::int64_t context = 0;   // activations between the pieces of a sequence
  std::int64_t tensor =
      0;  // activations between tensor ranks, and gradients that all have terms of
  std::int64_t all() const { return sharing + replicas + context + tensor; }
  friend bool operator==(const AxisBytes&, const AxisBytes&) = default;
};
inline AxisBytes operator-(const AxisBytes& a, const AxisBytes& b) {
  return {a.sharing - b.sharing, a.replicas - b.replicas, a.context - b.context,
          a.tensor - b.tensor};
}
inline AxisBytes operator+(const AxisBytes& a, const AxisBytes& b) {
  return {a.sharing + b.sharing, a.replicas + b.replicas, a.context + b.context,
          a.tensor + b.tensor};
}

// One rank's place, and the communicators of its axes. world must outlive it.
class Mesh {
 public:
  // Collective. The shape must fill the world.
  Mesh(Communicator& world, const MeshShape& shape);

  const MeshShape& shape() const { return shape_; }
  int data_rank() const { return world_.rank() / (shape_.tensor * shape_.context); }
  int context_rank() const { return world_.rank() / shape_.tensor % shape_.context; }
  int tensor_rank() const { return world_.rank() % shape_.tensor; }
  // The replica group of this rank, and the first data rank in it.
  int replica() const { return data_rank() / (shape_.data / shape_.replicas); }

  Communicator& world() const { return world_; }
  // Ranks that share one slice of the sequences' tokens, by tensor rank.
  Communicator& tensor() const { return *tensor_; }
  // Ranks that share one micro-shard's sequences, by context rank.
  Communicator& context() const { return *context_; }
  // Data × context: all ranks with this one's slice of the parameters; rank = data · contexts +
  // context.
  Communicator& columns() const { return *columns_; }
  // Those of `columns` that share out parameters, gradients and moments among them.
  Communicator& sharers() const { return *sharers_; }
  // The same place in every replica group, by group.
  Communicator& replicas() const { return *replicas_; }

 private:
  Communicator& world_;
  MeshShape shape_;
  std::unique_ptr<Communicator> tensor_, context_, columns_, sharers_, replicas_;
};

}  // namespace eyrie::parallel
