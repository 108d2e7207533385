// All-gathers of parameter shards.
#include "parallel/sharding/parameter_shards.h"

#include <algorithm>

#include "parallel/communication/exchange.h"
#include "tensor/ops/elementwise.h"

namespace eyrie::parallel {

struct ParameterShards::Slot {
  tensor::Buffer memory;
  tensor::Tensor copy;         // of the unit, in `memory`
  std::size_t unit = kNoUnit;  // whose weights it has or is receiving
  ExchangeQueue::Ticket ticket = 0;
  bool used = false;       // between unshard() and reshard()
  std::int64_t order = 0;  // of the last use
};

namespace {

// How many elements of parameters that no matrix product reads lie in [0, end) of the unit.
std::int64_t vectors_before(const Unit& unit, std::int64_t end) {
  std::int64_t count = 0;
  for (const ParameterInfo& info : unit.parameters) {
    if (!info.product) count += std::clamp<std::int64_t>(end - info.offset, 0, info.count());
  }
  return count;
}

}  // namespace

ParameterShards::ParameterShards(ShardedWeights& weights, const Mesh& mesh,
                                 const std::vector<UnitShard>& shards)
    : weights_(weights), mesh_(mesh), shards_(shards) {
  std::int64_t most = 0;
  for (std::size_t u = 0; u < shards.size(); ++u) {
    if (!weights.is_resident(u) && weights.has_products(u))
      most = std::max(most, weights.units()[u].size * size_of(weights.compute_dtype()));
  }
  // One slot for the unit in use and one for the next.
  for (int i = 0; i < 2 && most > 0; ++i) {
    slots_.push_back(std::make_unique<Slot>());
    slots_.back()->memory = tensor::Buffer(static_cast<std::size_t>(most), weights.device());
    slots_.back()->memory.zero();
  }
  // Rank after rank, each rank's parts unit by unit.
  vector_cuts_ = Cuts(shards[0].cuts.ranks(), [this](int rank) {
    std::int64_t before = 0;
    for (std::size_t u = 0; u < shards_.size(); ++u)
      before += vectors_before(weights_.units()[u], shards_[u].cuts[rank]);
    return before;
  });
  if (!slots_.empty()) weights.set_gather(this);
}

ParameterShards::~ParameterShards() { weights_.set_gather(nullptr); }

std::int64_t ParameterShards::gathered_bytes() const {
  std::int64_t bytes = 0;
  for (const auto& slot : slots_) bytes += static_cast<std::int64_t>(slot->memory.size());
  return bytes;
}

ExchangeQueue::Ticket ParameterShards::post_gather(std::size_t unit, const tensor::Tensor& copy) {
  return queue_->post(
      [this, unit, copy] { return all_gather(queue_->communicator(0), copy, shards_[unit].cuts); });
}

void ParameterShards::all_gather_parameters(std::size_t unit) {
  weights_.refresh(unit);
  for (const auto& slot : slots_) {
    if (slot->unit == unit) slot->unit = kNoUnit;
  }
  if (shared() && weights_.copy(unit)) post_gather(unit, weights_.copy(unit));
}

void ParameterShards::finish_all_gather() {
  if (!shared()) return;
  if (weights_.has_separate_vectors()) queue_->post([this] { return gather_vectors(); });
  queue_->wait_all();
}

void ParameterShards::all_gather_all() {
  for (std::size_t u = 0; u < shards_.size(); ++u) all_gather_parameters(u);
  finish_all_gather();
}

std::int64_t ParameterShards::gather_vectors() {
  if (vectors_.size() == 0) {
    const std::int64_t count = vector_cuts_[vector_cuts_.ranks()];
    vectors_ = tensor::Buffer(static_cast<std::size_t>(count) * sizeof(float), weights_.device());
  }
  const auto walk = [&](const auto& copy) {
    if (weights_.device() == tensor::Device::kMeta) return;  // of how many ranks it may be
    std::int64_t at = 0;
    for (int rank = 0; rank < vector_cuts_.ranks(); ++rank) {
      for (std::size_t u = 0; u < shards_.size(); ++u) {
        const Cuts& cuts = shards_[u].cuts;
        for (const auto& span : spans_in(weights_.units()[u], cuts[rank], cuts[rank + 1])) {
          if (span.info.product) continue;
          copy(vectors_.row().column_range(at, span.count()),
               weights_.whole_vector(u, span.index)
                   .column_range(span.begin - span.info.offset, span.count()));
          at += span.count();
        }
      }
    }
  };
  using tensor::Tensor;
  // What is packed of the other ranks' ranges is overwritten on arrival.
  walk([](const Tensor& packed, const Tensor& row) { tensor::copy(row, packed); });
  const std::int64_t sent = all_gather(queue_->communicator(0), vectors_.row(), vector_cuts_);
  walk([](const Tensor& packed, const Tensor& row) { tensor::copy(packed, row); });
  return sent;
}

ParameterShards::Slot* ParameterShards::slot_of(std::size_t unit) {
  for (const auto& slot : slots_) {
    if (slot->unit == unit) return slot.get();
  }
  return nullptr;
}

// Starts the all-gather into the least recently used free slot, dropping what it held.
void ParameterShards::fetch(std::size_t unit) {
  Slot* oldest = nullptr;
  for (const auto& slot : slots_) {
    if (!slot->used && (oldest == nullptr || slot->order < oldest->order)) oldest = slot.get();
  }
  if (oldest == nullptr) return;
  oldest->unit = unit;
  oldest->copy =
      oldest->memory.row(weights_.compute_dtype()).column_range(0, weights_.units()[unit].size);
  weights_.round_shard(unit, oldest->copy);
  oldest->ticket = post_gather(unit, oldest->copy);
}

void ParameterShards::unshard(std::size_t unit, std::size_t next) {
  if (weights_.is_resident(unit)) return;
  if (slot_of(unit) == nullptr) fetch(unit);
  Slot& slot = *slot_of(unit);
  slot.used = true;
  if (next != kNoUnit && slot_of(next) == nullptr) fetch(next);
  queue_->wait(slot.ticket);
  weights_.set_gathered(unit, slot.copy);
}

void ParameterShards::reshard(std::size_t unit) {
  if (weights_.is_resident(unit)) return;
  Slot& slot = *slot_of(unit);
  slot.used = false;
  for (const auto& other : slots_) slot.order = std::max(slot.order, other->order + 1);
  weights_.set_gathered(unit, {});
}

// Every pass begins with a vote on whether any rank has one. A rank without work votes no and still
// takes part: the others' passes need its shards.
bool ParameterShards::anyone_passes(bool here) { return mesh_.shard_group().any(here); }

void ParameterShards::begin_pass() { anyone_passes(true); }

void ParameterShards::finish_passes() {
  while (anyone_passes(false)) {
    for (std::size_t u = 1; u < shards_.size(); ++u) {
      if (!weights_.has_products(u)) continue;
      const bool more = u + 1 < shards_.size() && weights_.has_products(u + 1);
      unshard(u, more ? u + 1 : kNoUnit);
      reshard(u);
    }
  }
}

}  // namespace eyrie::parallel
