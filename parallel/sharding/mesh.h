// How the ranks of a job are arranged: data × context × tensor, with tensor innermost, so that the
// ranks that communicate most are neighbours. Rank = (data · contexts + context) · tensors +
// tensor.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "parallel/communication/communicator.h"

namespace eyrie::parallel {

// The mesh that a run asks for. ZeRO shards over data × context: 0 nothing, 1 the optimizer's
// moments, 2 also gradients, 3 also parameters (Rajbhandari et al. 2020). With `replicas` above 1,
// each of that many groups of neighbouring ranks holds a full copy and shards within itself (hybrid
// sharding); `replicas` must divide `data`.
struct MeshShape {
  int data = 1, context = 1, tensor = 1;
  bool sequence = false;  // tensor ranks split norms and residuals along the sequence
  int zero = 1;
  int replicas = 1;
  bool bf16_gradients = false;  // bf16 messages; sums are still made in fp32

  int ranks() const { return data * context * tensor; }
  int shard_group_size() const { return data * context / replicas; }  // ranks per shard group
  friend bool operator==(const MeshShape&, const MeshShape&) = default;
};

// "data 2 × context 1 × tensor 4, ZeRO 1"; settings at their default are left out.
std::string describe(const MeshShape& shape);

// Payload bytes that a rank sent point to point, by mesh axis.
struct AxisBytes {
  std::int64_t shard = 0;      // gradients and parameters, within a shard group (data × context)
  std::int64_t replicate = 0;  // gradients, between replica groups
  std::int64_t context = 0;    // activations between the pieces of a sequence
  std::int64_t tensor = 0;  // activations, and gradients that are partial sums on each tensor rank
  std::int64_t all() const { return shard + replicate + context + tensor; }
  friend bool operator==(const AxisBytes&, const AxisBytes&) = default;
};
inline AxisBytes operator-(const AxisBytes& a, const AxisBytes& b) {
  return {a.shard - b.shard, a.replicate - b.replicate, a.context - b.context, a.tensor - b.tensor};
}
inline AxisBytes operator+(const AxisBytes& a, const AxisBytes& b) {
  return {a.shard + b.shard, a.replicate + b.replicate, a.context + b.context, a.tensor + b.tensor};
}

// One rank's position in the mesh and the communicators of its axes. world must outlive it.
class Mesh {
 public:
  // Collective. The shape must have as many ranks as the world.
  Mesh(Communicator& world, const MeshShape& shape);
  // The place of one rank in a mesh that does not run: its communicators count messages
  // (communication/counting.h).
  static Mesh planned(const MeshShape& shape, int rank);

  const MeshShape& shape() const { return shape_; }
  int data_rank() const { return world_->rank() / (shape_.tensor * shape_.context); }
  int context_rank() const { return world_->rank() / shape_.tensor % shape_.context; }
  int tensor_rank() const { return world_->rank() % shape_.tensor; }
  // The replica group that this rank is in.
  int replica() const { return data_rank() / (shape_.data / shape_.replicas); }

  Communicator& world() const { return *world_; }
  // Ranks that hold the same tokens of the sequences; ordered by tensor rank.
  Communicator& tensor() const { return *tensor_; }
  // Ranks that split one micro-shard's sequences among them; ordered by context rank.
  Communicator& context() const { return *context_; }
  // Data × context: all ranks with the same tensor-parallel slice of the parameters as this one;
  // rank = data · contexts + context.
  Communicator& data_context() const { return *data_context_; }
  // The ranks of data_context() that shard parameters, gradients and moments among them.
  Communicator& shard_group() const { return *shard_group_; }
  // The ranks at the same place in every replica group, which hold the same part of the parameters;
  // ordered by group.
  Communicator& replicate_group() const { return *replicate_group_; }

 private:
  explicit Mesh(const MeshShape& shape) : shape_(shape) {}
  std::unique_ptr<Communicator> planned_world_;
  Communicator* world_ = nullptr;
  MeshShape shape_;
  std::unique_ptr<Communicator> tensor_, context_, data_context_, shard_group_, replicate_group_;
};

}  // namespace eyrie::parallel
