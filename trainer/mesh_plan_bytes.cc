// The bytes that a rank sends in a step, by the rules of exchange.h, GradientSum and
// ParameterShards.
#include <algorithm>

#include "trainer/mesh_plan.h"

namespace eyrie::trainer {

using parallel::AxisBytes;
using parallel::ParameterInfo;

namespace {

constexpr std::int64_t kFloat = 4;

}  // namespace

// Elements of this rank's shards of which all tensor ranks have partial sums.
std::int64_t MeshPlan::tensor_sums(const Place& place) const {
  const Column& all = column(place.tensor);
  std::int64_t count = 0;
  for (std::size_t u = 0; u < all.units.size(); ++u) {
    const auto [begin, end] = shard(place, u);
    for (const auto& span : parallel::spans_in(all.units[u], begin, end))
      if (span.info.tensor_gradient == parallel::TensorGradient::kSum) count += span.count();
  }
  return count;
}

// Every rank sends every other rank its slice of a gradient: once per step, or from ZeRO 2 on once
// per micro-shard. Then the replicate groups sum the slices, and with ZeRO 0 all ranks gather them.
AxisBytes MeshPlan::gradients_sent(int rank) const {
  const Place place = place_of(rank);
  const parallel::MeshShape& mesh = shape_.mesh;
  const Column& all = column(place.tensor);
  const std::int64_t comm_bytes = mesh.bf16_gradients ? 2 : kFloat,
                     shard_ranks = mesh.shard_group_size(),
                     rounds = stage() < 2 ? 1 : micro_shards_per_rank();
  AxisBytes sent;
  for (std::size_t u = 0; u < all.units.size(); ++u) {
    const std::int64_t slice = own(place, u);
    sent.shard += rounds * (all.units[u].size - slice) * comm_bytes;
    if (mesh.zero == 0) sent.shard += slice * kFloat * (shard_ranks - 1);
    const std::int64_t piece =
        slice * (place.replica + 1) / mesh.replicas - slice * place.replica / mesh.replicas;
    sent.replicate += (slice - piece) * comm_bytes + piece * kFloat * (mesh.replicas - 1);
  }
  sent.tensor = tensor_sums(place) * kFloat * (mesh.tensor - 1);
  return sent;
}

AxisBytes MeshPlan::passes_sent(int rank) const {
  const Place place = place_of(rank);
  const model::PassSize& size = pass(place.context, place.tensor);
  return {0, 0, micro_shards_per_rank() * size.context_sent,
          micro_shards_per_rank() * size.tensor_sent};
}

// Follows the two slots of ParameterShards: a unit is fetched when a pass enters it unless it is
// still in a slot, and so is the next unit.
const std::vector<std::int64_t>& MeshPlan::fetches(const Column& column) const {
  std::vector<std::int64_t>& counts = column.fetches;
  if (!counts.empty()) return counts;
  struct Slot {
    std::size_t unit = 0;  // 0, the embedding, is never in a slot
    bool used = false;
    std::int64_t order = 0;
  };
  Slot slots[2];
  counts.assign(column.units.size(), 0);
  const auto slot_of = [&](std::size_t unit) -> Slot* {
    for (Slot& slot : slots) {
      if (slot.unit == unit) return &slot;
    }
    return nullptr;
  };
  const auto fetch = [&](std::size_t unit) {
    Slot* oldest = nullptr;
    for (Slot& slot : slots) {
      if (!slot.used && (oldest == nullptr || slot.order < oldest->order)) oldest = &slot;
    }
    if (oldest == nullptr) return;
    oldest->unit = unit;
    ++counts[unit];
  };
  const auto use = [&](std::size_t unit, std::size_t next) {
    if (slot_of(unit) == nullptr) fetch(unit);
    Slot& slot = *slot_of(unit);
    slot.used = true;
    if (next != 0 && slot_of(next) == nullptr) fetch(next);
    slot.used = false;
    for (const Slot& other : slots) slot.order = std::max(slot.order, other.order + 1);
  };
  const std::size_t layers = column.units.size() - 2;  // without embedding and final norm
  for (std::int64_t pass = 0; pass < micro_shards_per_rank(); ++pass) {
    for (std::size_t unit = 1; unit <= layers; ++unit) use(unit, unit < layers ? unit + 1 : 0);
    for (std::size_t unit = layers; unit > 0; --unit) use(unit, unit - 1);
  }
  return counts;
}

AxisBytes MeshPlan::parameters_sent(int rank) const {
  const Place place = place_of(rank);
  const parallel::MeshShape& mesh = shape_.mesh;
  AxisBytes sent;
  if (mesh.zero == 0 || mesh.shard_group_size() == 1) return sent;
  const Column& all = column(place.tensor);
  const std::int64_t c = size_of(shape_.compute), others = mesh.shard_group_size() - 1;
  const std::vector<std::int64_t> fetched =
      sharded() ? fetches(all) : std::vector<std::int64_t>(all.units.size(), 1);
  for (std::size_t u = 0; u < all.units.size(); ++u) {
    if (!whole_masters() && !has_products(all.units[u])) continue;
    sent.shard += (u == 0 ? 1 : fetched[u]) * own(place, u) * c * others;
  }
  if (!whole_masters()) sent.shard += rows_cut(place) * kFloat * others;
  return sent;
}

std::int64_t MeshPlan::sent_by_all() const {
  std::int64_t bytes = 0;
  for (int rank = 0; rank < shape_.mesh.ranks(); ++rank) bytes += sent(rank).all();
  return bytes;
}

}  // namespace eyrie::trainer
