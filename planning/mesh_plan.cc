// Steps of single ranks on meta.
#include "planning/mesh_plan.h"

#include <algorithm>
#include <tuple>

#include "checkpoint/tensor_piece.h"
#include "trainer/optimizer.h"

namespace eyrie::planning {

MeshPlan::MeshPlan(std::shared_ptr<PassPlans> passes, const StepShape& shape)
    : shape_(shape), passes_(std::move(passes)) {}

// On large meshes most ranks do the same: context ranks in the middle of an evenly cut sequence,
// with a whole window before and after them; and tensor ranks after the first with slices of equal
// length.
std::pair<int, int> MeshPlan::stand_in(int context_rank, int tensor_rank) const {
  const parallel::MeshShape& mesh = shape_.mesh;
  const model::GriffinConfig& config = passes_->config();
  const bool even = shape_.length % mesh.context == 0,
             windows = config.layers.find('G') == std::string::npos;
  const std::int64_t piece = shape_.length / mesh.context;
  const std::int64_t reach = piece == 0 ? mesh.context : config.window / piece + 2;
  if (even && windows && context_rank > reach && mesh.context - 1 - context_rank > reach)
    context_rank = static_cast<int>(reach) + 1;
  const std::int64_t tokens = shape_.sequences * piece;
  const auto slice = [&](int rank) {
    return model::LocalDims(config, rank, mesh.tensor).vocabulary.local();
  };
  if (even && tensor_rank > 1 && tokens % mesh.tensor == 0 && slice(tensor_rank) == slice(1))
    tensor_rank = 1;
  return {context_rank, tensor_rank};
}

const PassPlan& MeshPlan::pass(int context_rank, int tensor_rank) const {
  std::tie(context_rank, tensor_rank) = stand_in(context_rank, tensor_rank);
  return passes_->plan({.compute = shape_.compute,
                        .sequences = shape_.sequences,
                        .length = shape_.length,
                        .mesh = shape_.mesh,
                        .context_rank = context_rank,
                        .tensor_rank = tensor_rank,
                        .recompute = shape_.recompute});
}

const MeshPlan::RankStep& MeshPlan::step(int rank) const {
  const auto [found, fresh] = steps_.try_emplace(rank);
  if (fresh) found->second = run_step(rank);
  return found->second;
}

MeshPlan::RankStep MeshPlan::run_step(int rank) const {
  const parallel::Mesh mesh = parallel::Mesh::planned(shape_.mesh, rank);
  const auto [found, fresh] = units_.try_emplace(mesh.tensor_rank());
  if (fresh)
    found->second = model::Griffin(passes_->config(), model::ParallelContext::of(mesh)).units();
  model::TrainingParameters parameters =
      trainer::make_parameters(found->second, shape_.compute, mesh, tensor::Device::kMeta);
  trainer::Optimizer optimizer({}, parameters, mesh);
  const PassPlan& pass = this->pass(mesh.context_rank(), mesh.tensor_rank());

  // What the passes of a step do to units, first for the gradients, then for the parameters, so
  // that the bytes of the two are told apart. In training both happen at once.
  RankStep step;
  const parallel::StepPlan plan(shape_.micro_shards, shape_.mesh);
  optimizer.begin(plan);
  for (std::int64_t number = 0; number < plan.count(); ++number) {
    for (const UnitCall& call : pass.calls) {
      if (call.kind == UnitCall::Kind::kGradient) optimizer.gradient(call.unit);
      if (call.kind == UnitCall::Kind::kFinished) optimizer.finished(call.unit);
    }
  }
  const double grad_norm = optimizer.grad_norm();
  step.gradients = optimizer.bytes_sent();
  for (std::int64_t number = 0; number < plan.count(); ++number) {
    for (const UnitCall& call : pass.calls) {
      if (call.kind == UnitCall::Kind::kUnshard) parameters.unshard(call.unit, call.next);
      if (call.kind == UnitCall::Kind::kReshard) parameters.reshard(call.unit);
    }
  }
  optimizer.step(0, grad_norm);
  step.parameters = optimizer.bytes_sent() - step.gradients;

  const parallel::ShardedWeights::Bytes weights = parameters.bytes();
  const trainer::Optimizer::Bytes held = optimizer.bytes();
  RankMemory& memory = step.memory;
  memory.masters = weights.masters;
  memory.copies = weights.copies;
  memory.vectors = weights.vectors;
  memory.gathered = held.gathered;
  memory.gradients = held.gradients;
  memory.moments = held.moments;
  memory.exchange = held.exchange;
  for (const checkpoint::TensorPiece& piece : optimizer.checkpoint_pieces())
    memory.snapshot += piece.flat_count * std::int64_t{sizeof(float)};
  memory.activations = pass.saved_touched;
  memory.scratch = pass.scratch_touched;
  memory.logits = pass.logits;
  memory.backward = pass.backward;
  // Tokens, targets, positions and loss mask.
  memory.batch = 4 * std::int64_t{sizeof(float)} * shape_.sequences * shape_.length;
  memory.process = kProcessBytes;
  step.updated = held.moments / std::int64_t{2 * sizeof(float)};
  return step;
}

RankMemory MeshPlan::memory(int rank) const { return step(rank).memory; }

RankMemory MeshPlan::largest_memory(int all_up_to) const {
  const parallel::MeshShape& mesh = shape_.mesh;
  RankMemory most;
  const auto look = [&](int rank) {
    const RankMemory one = memory(rank);
    if (one.all() > most.all()) most = one;
  };
  if (mesh.ranks() > all_up_to) {
    for (const int context : {0, mesh.context / 2, mesh.context - 1})
      look(((mesh.data - 1) * mesh.context + context) * mesh.tensor);
    return most;
  }
  for (int rank = 0; rank < mesh.ranks(); ++rank) look(rank);
  return most;
}

parallel::AxisBytes MeshPlan::passes_sent(int rank) const {
  const parallel::MeshShape& mesh = shape_.mesh;
  const PassPlan& one = pass(rank / mesh.tensor % mesh.context, rank % mesh.tensor);
  return {0, 0, micro_shards_per_rank() * one.context_sent,
          micro_shards_per_rank() * one.tensor_sent};
}

std::int64_t MeshPlan::sent_by_all() const {
  const parallel::MeshShape& mesh = shape_.mesh;
  std::int64_t bytes = 0;
  if (mesh.ranks() <= 1024) {
    for (int rank = 0; rank < mesh.ranks(); ++rank) bytes += sent(rank).all();
    return bytes;
  }
  // What a rank sends is linear in the length of its slices, which is smallest on the first data
  // rank and largest on the last.
  for (int context = 0; context < mesh.context; ++context) {
    for (int tensor = 0; tensor < mesh.tensor; ++tensor) {
      const auto at = [&](int data) {
        return (data * mesh.context + context) * mesh.tensor + tensor;
      };
      const int first = at(0), last = at(mesh.data - 1);
      const auto least = static_cast<double>(updated(first)),
                 spread = static_cast<double>(updated(last)) - least;
      const double average = mesh.zero == 0
                                 ? least
                                 : static_cast<double>(model::parameter_count(units_.at(tensor))) /
                                       mesh.shard_group_size();
      const double share = spread == 0 ? 0 : std::clamp((average - least) / spread, 0.0, 1.0);
      const auto sent_first = static_cast<double>(sent(first).all()),
                 sent_last = static_cast<double>(sent(last).all());
      bytes +=
          static_cast<std::int64_t>(mesh.data * (sent_first + share * (sent_last - sent_first)));
    }
  }
  return bytes;
}

}  // namespace eyrie::planning
