// The mesh: positions and axes.
#include "parallel/sharding/mesh.h"

#include <fmt/format.h>

#include "base/error.h"
#include "parallel/communication/counting.h"

namespace eyrie::parallel {

std::string describe(const MeshShape& shape) {
  std::string text =
      fmt::format("data {} × context {} × tensor {}", shape.data, shape.context, shape.tensor);
  if (shape.sequence && shape.tensor > 1) text += ", sequence";
  text += fmt::format(", ZeRO {}", shape.zero);
  if (shape.replicas > 1) text += fmt::format(" in {} replicas", shape.replicas);
  if (shape.bf16_gradients) text += ", gradients in bf16";
  return text;
}

Mesh Mesh::planned(const MeshShape& shape, int rank) {
  const auto counting = [](const char* name, int place, int size) {
    return std::make_unique<CountingCommunicator>(name, place, size);
  };
  Mesh mesh(shape);
  mesh.planned_world_ = counting("world", rank, shape.ranks());
  mesh.world_ = mesh.planned_world_.get();
  const int column = rank / shape.tensor;
  mesh.tensor_ = counting("tensor", mesh.tensor_rank(), shape.tensor);
  mesh.context_ = counting("context", mesh.context_rank(), shape.context);
  mesh.data_context_ = counting("data", column, shape.data * shape.context);
  mesh.shard_group_ =
      counting("sharing", column % shape.shard_group_size(), shape.shard_group_size());
  mesh.replicate_group_ = counting("replica", mesh.replica(), shape.replicas);
  return mesh;
}

Mesh::Mesh(Communicator& world, const MeshShape& shape) : world_(&world), shape_(shape) {
  EYRIE_CHECK(shape.ranks() == world.size(),
              fmt::format("a mesh of {} ranks on {}", shape.ranks(), world.size()));
  EYRIE_CHECK(shape.data % shape.replicas == 0, "replicas divide the data ranks");
  const int rank = world.rank(), column = rank / shape.tensor;
  tensor_ = world.split(column, rank, "tensor");
  context_ = world.split(data_rank() * shape.tensor + tensor_rank(), rank, "context");
  data_context_ = world.split(tensor_rank(), rank, "data");
  const int place = column % shape.shard_group_size();
  shard_group_ = data_context_->split(replica(), column, "sharing");
  replicate_group_ = data_context_->split(place, column, "replica");
}

}  // namespace eyrie::parallel
