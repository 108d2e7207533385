// The memory of a rank, by the rules of Parameters, GradientSum, ParameterShards and Optimizer.
#include "trainer/mesh_plan.h"

#include <algorithm>
#include <set>
#include <tuple>

#include "model/griffin.h"
#include "parallel/communication/exchange.h"
#include "parallel/sharding/gradient_sum.h"

namespace eyrie::trainer {
namespace {

using parallel::ParameterInfo;
using parallel::Unit;

constexpr std::int64_t kFloat = 4;

// How many buffers GradientAccumulator creates per gradient: one per level of the binary tree, and
// one more for finished groups if the number of micro-shards is not a power of two.
std::int64_t tree_buffers(std::int64_t micro_shards) {
  std::int64_t levels = 1;
  const std::int64_t group = micro_shards & -micro_shards;
  for (std::int64_t size = group; size > 1; size /= 2) ++levels;
  return levels + (group != micro_shards ? 1 : 0);
}

// The size of ExchangeSpace after scatter_partial_sums(), where this rank's slice has `own`
// elements.
struct Space {
  std::int64_t partial_sums = 0, rounded = 0;  // elements
  void scatter(int ranks, std::int64_t own, tensor::DType comm_dtype) {
    if (ranks == 1) return;
    const std::int64_t piece = parallel::exchange_piece(ranks) / size_of(comm_dtype),
                       others = ranks - 1;
    const std::int64_t received = 2 * others * std::min(piece, own);
    if (comm_dtype == tensor::DType::kFloat32) {
      partial_sums = std::max(partial_sums, received);
    } else {
      rounded = std::max(rounded, received + 2 * others * piece);
      partial_sums = std::max(partial_sums, others * piece);
    }
  }
};

}  // namespace

bool has_products(const Unit& unit) {
  return std::any_of(unit.parameters.begin(), unit.parameters.end(),
                     [](const ParameterInfo& row) { return row.product; });
}

MeshPlan::MeshPlan(const model::GriffinConfig& config, const StepShape& shape)
    : config_(config), shape_(shape) {}

MeshPlan::Place MeshPlan::place_of(int rank) const {
  const parallel::MeshShape& mesh = shape_.mesh;
  const int column = rank / mesh.tensor;
  return {column / mesh.shard_group_size(), column % mesh.shard_group_size(), column % mesh.context,
          rank % mesh.tensor};
}

const MeshPlan::Column& MeshPlan::column(int tensor_rank) const {
  const auto found = columns_.find(tensor_rank);
  if (found != columns_.end()) return found->second;
  const model::Griffin griffin(config_, model::ParallelContext::planned(
                                            tensor_rank, shape_.mesh.tensor, shape_.mesh.sequence));
  Column& column = columns_[tensor_rank];
  column.units = griffin.units();
  for (const Unit& unit : column.units) {
    for (const ParameterInfo& row : unit.parameters)
      column.vectors += row.product ? 0 : row.count();
  }
  return column;
}

// On large meshes most ranks do the same: context ranks in the middle of an evenly cut sequence,
// with a whole window before and after them; and tensor ranks after the first with slices of equal
// length.
std::pair<int, int> MeshPlan::stand_in(int context_rank, int tensor_rank) const {
  const parallel::MeshShape& mesh = shape_.mesh;
  const bool even = shape_.length % mesh.context == 0,
             windows = config_.layers.find('G') == std::string::npos;
  const std::int64_t piece = shape_.length / mesh.context;
  const std::int64_t reach = piece == 0 ? mesh.context : config_.window / piece + 2;
  if (even && windows && context_rank > reach && mesh.context - 1 - context_rank > reach)
    context_rank = static_cast<int>(reach) + 1;
  const std::int64_t tokens = shape_.sequences * piece;
  const auto slice = [&](int rank) {
    return model::LocalDims(config_, rank, mesh.tensor).vocabulary.local();
  };
  if (even && tensor_rank > 1 && tokens % mesh.tensor == 0 && slice(tensor_rank) == slice(1))
    tensor_rank = 1;
  return {context_rank, tensor_rank};
}

const model::PassSize& MeshPlan::pass(int context_rank, int tensor_rank) const {
  std::tie(context_rank, tensor_rank) = stand_in(context_rank, tensor_rank);
  const auto [found, fresh] = passes_.try_emplace({context_rank, tensor_rank});
  if (fresh) {
    found->second = model::pass_size(config_, {.compute = shape_.compute,
                                               .sequences = shape_.sequences,
                                               .length = shape_.length,
                                               .context_rank = context_rank,
                                               .context_ranks = shape_.mesh.context,
                                               .tensor_rank = tensor_rank,
                                               .tensor_ranks = shape_.mesh.tensor,
                                               .sequence = shape_.mesh.sequence,
                                               .recompute = shape_.recompute});
  }
  return found->second;
}

std::pair<std::int64_t, std::int64_t> MeshPlan::cut(const Place& place, std::size_t unit) const {
  const Unit& one = column(place.tensor).units[unit];
  const int shard_ranks = shape_.mesh.shard_group_size();
  return {parallel::cut_of(one, shard_ranks, place.shard_rank),
          parallel::cut_of(one, shard_ranks, place.shard_rank + 1)};
}

std::int64_t MeshPlan::own(const Place& place, std::size_t unit) const {
  const auto [begin, end] = cut(place, unit);
  return end - begin;
}

std::pair<std::int64_t, std::int64_t> MeshPlan::shard(const Place& place, std::size_t unit) const {
  if (shape_.mesh.zero == 0) return {0, column(place.tensor).units[unit].size};
  return cut(place, unit);
}

int MeshPlan::stage() const { return shape_.mesh.shard_group_size() == 1 ? 1 : shape_.mesh.zero; }
bool MeshPlan::sharded() const {
  return shape_.mesh.zero == 3 && shape_.mesh.shard_group_size() > 1;
}
bool MeshPlan::whole_masters() const {
  return shape_.compute == tensor::DType::kFloat32 && !sharded();
}

std::int64_t MeshPlan::updated(int rank) const {
  const Place place = place_of(rank);
  std::int64_t elements = 0;
  for (std::size_t u = 0; u < column(place.tensor).units.size(); ++u)
    elements += shard(place, u).second - shard(place, u).first;
  return elements;
}

std::int64_t MeshPlan::gradient_bytes(const Place& place) const {
  const Column& all = column(place.tensor);
  std::int64_t bytes = 0;
  if (stage() < 2) {
    for (const Unit& unit : all.units)
      bytes += unit.size * kFloat * tree_buffers(micro_shards_per_rank());
    return bytes;
  }
  const parallel::MicroShardPlan inner =
      parallel::StepPlan(shape_.micro_shards, shape_.mesh).inner();
  const std::int64_t groups = inner.ranks() / inner.ranks_in_group();
  for (std::size_t u = 0; u < all.units.size(); ++u) {
    const auto [begin, end] = shard(place, u);
    bytes += groups * tree_buffers(inner.count(0)) * (end - begin) * kFloat;
  }
  for (const std::int64_t elements : parallel::slot_sizes(all.units)) bytes += elements * kFloat;
  return bytes;
}

// Elements in this rank's cuts of parameters that no matrix product reads.
std::int64_t MeshPlan::rows_cut(const Place& place) const {
  const Column& all = column(place.tensor);
  std::int64_t count = 0;
  for (std::size_t u = 0; u < all.units.size(); ++u) {
    const auto [begin, end] = cut(place, u);
    for (const auto& span : parallel::spans_in(all.units[u], begin, end))
      if (!span.info.product) count += span.count();
  }
  return count;
}

std::int64_t MeshPlan::exchange_bytes(const Place& place) const {
  const parallel::MeshShape& mesh = shape_.mesh;
  const auto comm_dtype = mesh.bf16_gradients ? tensor::DType::kBFloat16 : tensor::DType::kFloat32;
  Space space;
  for (std::size_t u = 0; u < column(place.tensor).units.size(); ++u) {
    const std::int64_t slice = own(place, u);
    space.scatter(mesh.shard_group_size(), slice, comm_dtype);
    const std::int64_t first = slice * place.replica / mesh.replicas,
                       last = slice * (place.replica + 1) / mesh.replicas;
    space.scatter(mesh.replicas, last - first, comm_dtype);
  }
  std::int64_t bytes = space.partial_sums * kFloat + space.rounded * 2;
  // The gathered vectors of all ranks of the shard group, that is, all vectors.
  if (mesh.zero > 0 && mesh.shard_group_size() > 1 && !whole_masters())
    bytes += column(place.tensor).vectors * kFloat;
  return bytes;
}

RankMemory MeshPlan::memory(int rank) const {
  const Place place = place_of(rank);
  const Column& all = column(place.tensor);
  const std::int64_t c = size_of(shape_.compute);
  RankMemory memory;
  std::int64_t largest = 0;
  for (std::size_t u = 0; u < all.units.size(); ++u) {
    const Unit& unit = all.units[u];
    const auto [begin, end] = shard(place, u);
    const auto [first, last] = cut(place, u);
    memory.masters += kFloat * (whole_masters() ? unit.size : end - begin);
    memory.moments += 2 * kFloat * (end - begin);
    for (const ParameterInfo& row : unit.parameters) {
      if (!whole_masters() && !row.product) memory.rows += kFloat * ((row.count() + 15) / 16 * 16);
    }
    // Replicas take turns by unit, and one tensor rank writes what all of them have.
    if (u % static_cast<std::size_t>(shape_.mesh.replicas) ==
        static_cast<std::size_t>(place.replica)) {
      for (const auto& span : parallel::spans_in(unit, first, last))
        if (!span.info.replicated() || place.tensor == 0)
          memory.snapshot += 3 * kFloat * span.count();
    }
    if (!has_products(unit) || whole_masters()) continue;
    if (sharded() && u > 0) {
      largest = std::max(largest, unit.size * c);
    } else {
      memory.copies += unit.size * c;
    }
  }
  memory.gathered = 2 * largest;
  memory.gradients = gradient_bytes(place);
  memory.exchange = exchange_bytes(place);
  const model::PassSize& size = pass(place.context, place.tensor);
  memory.activations = size.saved_touched;
  memory.scratch = size.scratch_touched;
  memory.logits = size.logits;
  memory.backward = size.backward;
  memory.batch = 4 * kFloat * shape_.sequences * shape_.length;
  memory.process = kProcessBytes;
  return memory;
}

RankMemory MeshPlan::largest_memory() const {
  const parallel::MeshShape& mesh = shape_.mesh;
  // Ranks differ in the rounding of their slices, and in the keys that they fetch from earlier
  // ranks; on large meshes the corners represent all.
  const auto corners = [&](int ranks) {
    if (mesh.ranks() > 64) return std::set<int>{0, std::min(1, ranks - 1), ranks - 1};
    std::set<int> all;
    for (int rank = 0; rank < ranks; ++rank) all.insert(rank);
    return all;
  };
  RankMemory most;
  for (const int data : corners(mesh.data)) {
    for (const int context : corners(mesh.context)) {
      for (const int tensor : corners(mesh.tensor)) {
        const RankMemory one = memory((data * mesh.context + context) * mesh.tensor + tensor);
        if (one.all() > most.all()) most = one;
      }
    }
  }
  return most;
}

}  // namespace eyrie::trainer
