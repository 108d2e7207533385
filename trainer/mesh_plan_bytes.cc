// The bytes that a rank sends in a step, by the rules of exchange.h, GradientSum and
// ParameterShards.
#include <algorithm>

#include "trainer/mesh_plan.h"

namespace eyrie::trainer {

using parallel::AxisBytes;
using parallel::ParameterRow;

namespace {

constexpr std::int64_t kFloat = 4;

}  // namespace

// Elements of this rank's shards that all tensor ranks have terms of.
std::int64_t MeshPlan::tensor_sums(const Place& place) const {
  const Column& all = column(place.tensor);
  std::int64_t count = 0;
  for (std::size_t u = 0; u < all.units.size(); ++u) {
    const auto [begin, end] = shard(place, u);
    for (const ParameterRow& row : all.units[u].rows) {
      if (row.tensor_gradient != parallel::TensorGradient::kSum) continue;
      count += std::max<std::int64_t>(
          0, std::min(row.offset + row.count(), end) - std::max(row.offset, begin));
    }
  }
  return count;
}

// Every rank sends each other one its slice of a gradient: once a step, or from ZeRO 2 on once a
// micro-shard. Then the slices go round the replica groups, and with ZeRO 0 back to all.
AxisBytes MeshPlan::gradients_sent(int rank) const {
  const Place place = place_of(rank);
  const parallel::MeshShape& mesh = shape_.mesh;
  const Column& all = column(place.tensor);
  const std::int64_t wire = mesh.bf16_gradients ? 2 : kFloat, sharers = mesh.sharers(),
                     rounds = stage() < 2 ? 1 : micro_shards_a_rank();
  AxisBytes sent;
  for (std::size_t u = 0; u < all.units.size(); ++u) {
    const std::int64_t slice = own(place, u);
    sent.sharing += rounds * (all.units[u].size - slice) * wire;
    if (mesh.zero == 0) sent.sharing += slice * kFloat * (sharers - 1);
    const std::int64_t piece =
        slice * (place.replica + 1) / mesh.replicas - slice * place.replica / mesh.replicas;
    sent.replicas += (slice - piece) * wire + piece * kFloat * (mesh.replicas - 1);
  }
  sent.tensor = tensor_sums(place) * kFloat * (mesh.tensor - 1);
  return sent;
}

AxisBytes MeshPlan::passes_sent(int rank) const {
  const Place place = place_of(rank);
  const model::PassSize& size = pass(place.context, place.tensor);
  return {0, 0, micro_shards_a_rank() * size.context_sent,
          micro_shards_a_rank() * size.tensor_sent};
}

// The slots of ParameterShards: a unit that is entered is fetched unless it is still in one of the
// two, and so is the next one.
const std::vector<std::int64_t>& MeshPlan::fetches(const Column& column) const {
  std::vector<std::int64_t>& counts = column.fetches;
  if (!counts.empty()) return counts;
  struct Slot {
    std::size_t unit = 0;  // 0, the embedding, is never in one
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
  const std::size_t layers = column.units.size() - 2;  // but embedding and final norm
  for (std::int64_t pass = 0; pass < micro_shards_a_rank(); ++pass) {
    for (std::size_t unit = 1; unit <= layers; ++unit) use(unit, unit < layers ? unit + 1 : 0);
    for (std::size_t unit = layers; unit > 0; --unit) use(unit, unit - 1);
  }
  return counts;
}

AxisBytes MeshPlan::parameters_sent(int rank) const {
  const Place place = place_of(rank);
  const parallel::MeshShape& mesh = shape_.mesh;
  AxisBytes sent;
  if (mesh.zero == 0 || mesh.sharers() == 1) return sent;
  const Column& all = column(place.tensor);
  const std::int64_t c = size_of(shape_.compute), others = mesh.sharers() - 1;
  const std::vector<std::int64_t> fetched =
      on_demand() ? fetches(all) : std::vector<std::int64_t>(all.units.size(), 1);
  for (std::size_t u = 0; u < all.units.size(); ++u) {
    if (!whole_masters() && !has_products(all.units[u])) continue;
    sent.sharing += (u == 0 ? 1 : fetched[u]) * own(place, u) * c * others;
  }
  if (!whole_masters()) sent.sharing += rows_cut(place) * kFloat * others;
  return sent;
}

std::int64_t MeshPlan::sent_by_all() const {
  std::int64_t bytes = 0;
  for (int rank = 0; rank < shape_.mesh.ranks(); ++rank) bytes += sent(rank).all();
  return bytes;
}

}  // namespace eyrie::trainer
