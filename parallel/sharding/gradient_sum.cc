// Gradient sums over a mesh.
#include "parallel/sharding/gradient_sum.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/error.h"
#include "parallel/communication/activations.h"

namespace eyrie::parallel {

std::vector<UnitShard> shards_of(const std::vector<Unit>& units, const Mesh& mesh) {
  return shards_of(units, mesh.shape(), mesh.shard_group().rank());
}

std::vector<UnitShard> shards_of(const std::vector<Unit>& units, const MeshShape& shape,
                                 int shard_rank) {
  std::vector<UnitShard> shards;
  for (const Unit& unit : units) {
    UnitShard shard{cuts_of(unit, shape.shard_group_size()), 0, unit.size};
    if (shape.zero > 0) {
      const auto rank = static_cast<std::size_t>(shard_rank);
      shard.begin = shard.cuts[rank];
      shard.end = shard.cuts[rank + 1];
    }
    shards.push_back(std::move(shard));
  }
  return shards;
}

namespace {

// With one rank per shard group there is nothing to scatter early: ZeRO 2 and 3 work as ZeRO 1.
int stage_of(const MeshShape& shape) { return shape.shard_group_size() == 1 ? 1 : shape.zero; }

MicroShardPlan inner_plan(std::int64_t micro_shards, const MeshShape& shape) {
  if (micro_shards % shape.replicas != 0) {
    throw base::InputError(fmt::format("micro_shards: {} do not split over {} replicas",
                                       micro_shards, shape.replicas));
  }
  return {micro_shards / shape.replicas, shape.data / shape.replicas};
}

}  // namespace

StepPlan::StepPlan(std::int64_t micro_shards, const MeshShape& shape)
    : outer_(micro_shards, shape.replicas),
      inner_(inner_plan(micro_shards, shape)),
      in_turn_(stage_of(shape) >= 2) {}

std::int64_t StepPlan::micro_shard(int data_rank, std::int64_t number) const {
  const int rank = data_rank % inner_.ranks(), replica = data_rank / inner_.ranks();
  const std::int64_t first = outer_.first(replica);
  if (!in_turn_ || inner_.ranks() == 1) return first + inner_.first(rank) + number;
  const int together = inner_.ranks_in_group();
  return first + rank / together * inner_.group() + number * together + rank % together;
}

// The sum of one unit's gradient.
struct GradientSum::Sum {
  // Below ZeRO 2: one for the whole unit, over this rank's micro-shards. From ZeRO 2 on, for this
  // rank's slice only: one for each binary group of micro-shards that ranks work on at once.
  std::vector<std::unique_ptr<GradientAccumulator>> accumulators;
  std::span<float> result;  // the elements that this rank updates
  ExchangeQueue::Ticket ticket = 0;
  Slot* slot = nullptr;  // holds the gradient of the current micro-shard
};

struct GradientSum::Slot {
  tensor::Buffer memory;
  ExchangeQueue::Ticket ticket = 0;  // of its last exchange
};

GradientSum::GradientSum(const std::vector<Unit>& units, const Mesh& mesh)
    : units_(units),
      mesh_(mesh),
      stage_(stage_of(mesh.shape())),
      comm_dtype_(mesh.shape().bf16_gradients ? tensor::DType::kBFloat16 : tensor::DType::kFloat32),
      shards_(shards_of(units, mesh)) {
  for (std::size_t u = 0; u < units_.size(); ++u) sums_.push_back(std::make_unique<Sum>());
  if (stage_ < 2) return;
  for (const std::int64_t elements : slot_sizes(units_)) {
    slots_.push_back(std::make_unique<Slot>());
    slots_.back()->memory = tensor::Buffer(static_cast<std::size_t>(elements) * sizeof(float));
    slots_.back()->memory.zero();
  }
}

std::array<std::int64_t, 3> slot_sizes(const std::vector<Unit>& units) {
  std::int64_t largest = 0;
  for (std::size_t u = 1; u < units.size(); ++u) largest = std::max(largest, units[u].size);
  return {units[0].size, largest, largest};
}

GradientSum::~GradientSum() = default;

void GradientSum::begin(const StepPlan& plan) {
  const bool same = plan_ && plan_->outer().micro_shards() == plan.outer().micro_shards();
  if (!same) plan_ = std::make_unique<StepPlan>(plan);
  const MicroShardPlan& inner = plan_->inner();
  for (std::size_t u = 0; u < units_.size(); ++u) {
    auto& accumulators = sums_[u]->accumulators;
    if (same) {
      for (auto& accumulator : accumulators) accumulator->reset();
      continue;
    }
    accumulators.clear();
    if (stage_ < 2) {
      const int rank = mesh_.data_rank() % inner.ranks();
      accumulators.push_back(std::make_unique<GradientAccumulator>(inner, rank, units_[u].size));
    } else {
      for (int group = 0; group < inner.ranks() / inner.ranks_in_group(); ++group) {
        accumulators.push_back(std::make_unique<GradientAccumulator>(
            MicroShardPlan(inner.count(0), 1), 0, shards_[u].size()));
      }
    }
  }
}

float* GradientSum::buffer(std::size_t unit) {
  Sum& sum = *sums_[unit];
  if (stage_ < 2) return sum.accumulators[0]->buffer().data();
  if (sum.slot != nullptr) return sum.slot->memory.f32();
  sum.slot = unit == 0 ? slots_[0].get() : slots_[1 + turn_++ % 2].get();
  queue_->wait(sum.slot->ticket);
  return sum.slot->memory.f32();
}

void GradientSum::finished(std::size_t unit) {
  Sum& sum = *sums_[unit];
  if (stage_ < 2) {
    sum.accumulators[0]->add();
    if (!sum.accumulators[0]->complete()) return;
    sum.ticket = queue_->post([this, unit] { return reduce_local(unit); });
    return;
  }
  Slot& slot = *sum.slot;
  const std::span<float> partial_sums(slot.memory.f32(),
                                      static_cast<std::size_t>(units_[unit].size));
  slot.ticket = sum.ticket =
      queue_->post([this, unit, partial_sums] { return scatter_round(unit, partial_sums); });
  sum.slot = nullptr;
}

// Runs on the queue's thread: adds this rank's local sum of a unit to the other ranks' sums.
std::int64_t GradientSum::reduce_local(std::size_t unit) {
  const UnitShard& shard = shards_[unit];
  const MicroShardPlan& plan = plan_->inner();
  const std::span<float> whole = sums_[unit]->accumulators[0]->sum();
  Communicator& shard_group = queue_->communicator(0);
  const auto rank = static_cast<std::size_t>(shard_group.rank());
  const std::span<float> slice =
      whole.subspan(static_cast<std::size_t>(shard.cuts[rank]),
                    static_cast<std::size_t>(shard.cuts[rank + 1] - shard.cuts[rank]));
  std::int64_t sent = 0;
  if (shard_group.size() > 1) {
    const auto contexts = static_cast<std::size_t>(mesh_.shape().context);
    std::vector<float*> column(static_cast<std::size_t>(plan.ranks()));
    const auto combine = [&](std::span<float* const> parts, std::int64_t at, std::int64_t count) {
      for (std::size_t c = 0; c < contexts; ++c) {
        for (std::size_t d = 0; d < column.size(); ++d) column[d] = parts[d * contexts + c];
        add_rank_sums(plan, column, count);
        if (c == 0) continue;
        for (std::int64_t i = 0; i < count; ++i) parts[0][i] += parts[c][i];
      }
      float* const to = slice.data() + at;
      if (parts[0] != to) std::copy_n(parts[0], count, to);
    };
    sent += scatter_partial_sums(shard_group, whole, shard.cuts, comm_dtype_, combine, space_);
  }
  sent += over_replicas(slice);
  if (mesh_.shape().zero == 0) {
    sent += all_gather(shard_group, std::as_writable_bytes(whole), shard.cuts, sizeof(float));
    sums_[unit]->result = whole;
  } else {
    sums_[unit]->result = slice;
  }
  return sent;
}

// Runs on the queue's thread, for one micro-shard of every rank: adds the ranks' partial sums of
// this rank's slice along the subtree that these micro-shards form, then adds that to the earlier
// ones.
std::int64_t GradientSum::scatter_round(std::size_t unit, std::span<float> partial_sums) {
  Sum& sum = *sums_[unit];
  const auto contexts = static_cast<std::size_t>(mesh_.shape().context),
             together = static_cast<std::size_t>(plan_->inner().ranks_in_group());
  std::vector<float*> group(together);
  const auto combine = [&](std::span<float* const> parts, std::int64_t at, std::int64_t count) {
    for (std::size_t g = 0; g < sum.accumulators.size(); ++g) {
      for (std::size_t d = 0; d < together; ++d) {
        const std::span<float* const> pieces =
            parts.subspan((g * together + d) * contexts, contexts);
        for (std::size_t c = 1; c < contexts; ++c) {
          for (std::int64_t i = 0; i < count; ++i) pieces[0][i] += pieces[c][i];
        }
        group[d] = pieces[0];
      }
      add_binary(group, count);
      std::copy_n(group[0], count, sum.accumulators[g]->buffer().data() + at);
    }
  };
  std::int64_t sent = scatter_partial_sums(queue_->communicator(0), partial_sums,
                                           shards_[unit].cuts, comm_dtype_, combine, space_);
  for (auto& accumulator : sum.accumulators) {
    accumulator->buffer();  // allocates it even if this rank's slice is empty
    accumulator->add();
  }
  if (!sum.accumulators[0]->complete()) return sent;
  const std::span<float> total = sum.accumulators[0]->sum();
  for (std::size_t g = 1; g < sum.accumulators.size(); ++g) {
    const std::span<float> term = sum.accumulators[g]->sum();
    for (std::size_t i = 0; i < total.size(); ++i) total[i] += term[i];
  }
  sent += over_replicas(total);
  sum.result = total;
  return sent;
}

// Adds the same slice over the replica groups.
std::int64_t GradientSum::over_replicas(std::span<float> slice) {
  Communicator& replicas = queue_->communicator(1);
  if (replicas.size() == 1) return 0;
  std::vector<std::int64_t> cuts;
  for (int r = 0; r <= replicas.size(); ++r)
    cuts.push_back(static_cast<std::int64_t>(slice.size()) * r / replicas.size());
  float* const own = slice.data() + cuts[static_cast<std::size_t>(replicas.rank())];
  const auto combine = [&](std::span<float* const> parts, std::int64_t at, std::int64_t count) {
    add_rank_sums(plan_->outer(), parts, count);
    if (parts[0] != own + at) std::copy_n(parts[0], count, own + at);
  };
  return scatter_partial_sums(replicas, slice, cuts, comm_dtype_, combine, space_) +
         all_gather(replicas, std::as_writable_bytes(slice), cuts, sizeof(float));
}

void GradientSum::finish() {
  for (const auto& sum : sums_) queue_->wait(sum->ticket);
  if (mesh_.tensor().size() > 1) add_over_tensor_ranks();
}

std::span<float> GradientSum::part(std::size_t unit) { return sums_[unit]->result; }

// Units with such parameters have the same cuts on all tensor ranks, so that this rank owns the
// same elements on all of them.
void GradientSum::add_over_tensor_ranks() {
  std::vector<std::span<float>> ranges;
  std::int64_t count = 0;
  for (std::size_t u = 0; u < units_.size(); ++u) {
    for (const auto& span : spans_in(units_[u], shards_[u].begin, shards_[u].end)) {
      if (span.info.tensor_gradient != TensorGradient::kSum) continue;
      ranges.push_back(part(u).subspan(static_cast<std::size_t>(span.begin - shards_[u].begin),
                                       static_cast<std::size_t>(span.count())));
      count += span.count();
    }
  }
  if (count == 0) return;
  const int ranks = mesh_.tensor().size();
  std::vector<float> own, all(static_cast<std::size_t>(ranks * count));
  for (const auto range : ranges) own.insert(own.end(), range.begin(), range.end());
  all_gather_rows(mesh_.tensor(), {own.data(), tensor::DType::kFloat32, 1, count},
                  {all.data(), tensor::DType::kFloat32, ranks, count});
  std::size_t at = 0;
  for (const auto range : ranges) {
    for (float& value : range) {
      value = all[at];
      for (int rank = 1; rank < ranks; ++rank)
        value += all[static_cast<std::size_t>(rank * count) + at];
      ++at;
    }
  }
}

std::int64_t GradientSum::bytes() const {
  std::int64_t bytes = 0;
  for (const auto& slot : slots_) bytes += static_cast<std::int64_t>(slot->memory.size());
  for (std::size_t u = 0; u < units_.size(); ++u) {
    for (const auto& accumulator : sums_[u]->accumulators) {
      bytes += accumulator->buffers() * std::int64_t{sizeof(float)} *
               (stage_ < 2 ? units_[u].size : shards_[u].size());
    }
  }
  return bytes;
}

std::int64_t GradientSum::exchange_bytes() const {
  return std::ssize(space_.partial_sums) * std::int64_t{sizeof(float)} +
         std::ssize(space_.rounded) * std::int64_t{sizeof(std::uint16_t)};
}

}  // namespace eyrie::parallel
