// Gradient sums over a mesh.
#include "parallel/sharding/gradient_sum.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/error.h"
#include "parallel/communication/collectives.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/sums.h"

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
      shard.begin = shard.cuts[shard_rank];
      shard.end = shard.cuts[shard_rank + 1];
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

namespace {

// Copies a sum to where it belongs in a row, unless it was made there.
void put(const tensor::Tensor& sum, const tensor::Tensor& row, std::int64_t at) {
  const tensor::Tensor to = row.column_range(at, sum.count());
  if (sum.data() != to.data()) tensor::copy(sum, to);
}

}  // namespace

// The sum of one unit's gradient.
struct GradientSum::Sum {
  // Below ZeRO 2: one for the whole unit, over this rank's micro-shards. From ZeRO 2 on, for this
  // rank's slice only: one for each binary group of micro-shards that ranks work on at once.
  std::vector<std::unique_ptr<GradientAccumulator>> accumulators;
  tensor::Tensor result;  // the elements that this rank updates
  ExchangeQueue::Ticket ticket = 0;
  Slot* slot = nullptr;  // holds the gradient of the current micro-shard
};

struct GradientSum::Slot {
  tensor::Buffer memory;
  ExchangeQueue::Ticket ticket = 0;  // of its last exchange
};

GradientSum::GradientSum(const std::vector<Unit>& units, const Mesh& mesh, tensor::Device device)
    : units_(units),
      mesh_(mesh),
      device_(device),
      stage_(stage_of(mesh.shape())),
      comm_dtype_(mesh.shape().bf16_gradients ? tensor::DType::kBFloat16 : tensor::DType::kFloat32),
      shards_(shards_of(units, mesh)) {
  for (std::size_t u = 0; u < units_.size(); ++u) sums_.push_back(std::make_unique<Sum>());
  if (stage_ < 2) return;
  for (const std::int64_t elements : slot_sizes(units_)) {
    slots_.push_back(std::make_unique<Slot>());
    slots_.back()->memory =
        tensor::Buffer(static_cast<std::size_t>(elements) * sizeof(float), device);
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
      accumulators.push_back(
          std::make_unique<GradientAccumulator>(inner, rank, units_[u].size, device_));
    } else {
      for (int group = 0; group < inner.ranks() / inner.ranks_in_group(); ++group) {
        accumulators.push_back(std::make_unique<GradientAccumulator>(
            MicroShardPlan(inner.count(0), 1), 0, shards_[u].size(), device_));
      }
    }
  }
}

tensor::Tensor GradientSum::buffer(std::size_t unit) {
  Sum& sum = *sums_[unit];
  if (stage_ < 2) return sum.accumulators[0]->buffer();
  if (sum.slot == nullptr) {
    sum.slot = unit == 0 ? slots_[0].get() : slots_[1 + turn_++ % 2].get();
    queue_->wait(sum.slot->ticket);
  }
  return sum.slot->memory.row().column_range(0, units_[unit].size);
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
  const tensor::Tensor partial_sums = slot.memory.row().column_range(0, units_[unit].size);
  slot.ticket = sum.ticket =
      queue_->post([this, unit, partial_sums] { return scatter_round(unit, partial_sums); });
  sum.slot = nullptr;
}

// Runs on the queue's thread: adds this rank's local sum of a unit to the other ranks' sums.
std::int64_t GradientSum::reduce_local(std::size_t unit) {
  const UnitShard& shard = shards_[unit];
  const MicroShardPlan& plan = plan_->inner();
  const tensor::Tensor whole = sums_[unit]->accumulators[0]->sum();
  Communicator& shard_group = queue_->communicator(0);
  const int rank = shard_group.rank();
  const tensor::Tensor slice = whole.column_range(shard.cuts[rank], shard.cuts.size(rank));
  std::int64_t sent = 0;
  if (shard_group.size() > 1) {
    const auto contexts = static_cast<std::size_t>(mesh_.shape().context);
    std::vector<tensor::Tensor> column(static_cast<std::size_t>(plan.ranks()));
    const auto combine = [&](std::span<const tensor::Tensor> parts, std::int64_t at) {
      for (std::size_t c = 0; c < contexts; ++c) {
        for (std::size_t d = 0; d < column.size(); ++d) column[d] = parts[d * contexts + c];
        tensor::sum_tree(column, plan.ranks_in_group());
        if (c > 0) tensor::add(parts[c], parts[0]);
      }
      put(parts[0], slice, at);
    };
    sent += scatter_partial_sums(shard_group, whole, shard.cuts, comm_dtype_, combine, space_);
  }
  sent += over_replicas(slice);
  if (mesh_.shape().zero == 0) {
    sent += all_gather(shard_group, whole, shard.cuts);
    sums_[unit]->result = whole;
  } else {
    sums_[unit]->result = slice;
  }
  return sent;
}

// Runs on the queue's thread, for one micro-shard of every rank: adds the ranks' partial sums of
// this rank's slice along the subtree that these micro-shards form, then adds that to the earlier
// ones.
std::int64_t GradientSum::scatter_round(std::size_t unit, const tensor::Tensor& partial_sums) {
  Sum& sum = *sums_[unit];
  const auto contexts = static_cast<std::size_t>(mesh_.shape().context),
             together = static_cast<std::size_t>(plan_->inner().ranks_in_group());
  std::vector<tensor::Tensor> group(together);
  const auto combine = [&](std::span<const tensor::Tensor> parts, std::int64_t at) {
    for (std::size_t g = 0; g < sum.accumulators.size(); ++g) {
      for (std::size_t d = 0; d < together; ++d) {
        const auto pieces = parts.subspan((g * together + d) * contexts, contexts);
        for (std::size_t c = 1; c < contexts; ++c) tensor::add(pieces[c], pieces[0]);
        group[d] = pieces[0];
      }
      tensor::sum_tree(group, std::ssize(group));
      put(group[0], sum.accumulators[g]->buffer(), at);
    }
  };
  std::int64_t sent = scatter_partial_sums(queue_->communicator(0), partial_sums,
                                           shards_[unit].cuts, comm_dtype_, combine, space_);
  for (auto& accumulator : sum.accumulators) {
    accumulator->buffer();  // allocates it even if this rank's slice is empty
    accumulator->add();
  }
  if (!sum.accumulators[0]->complete()) return sent;
  const tensor::Tensor total = sum.accumulators[0]->sum();
  for (std::size_t g = 1; g < sum.accumulators.size(); ++g)
    tensor::add(sum.accumulators[g]->sum(), total);
  sent += over_replicas(total);
  sum.result = total;
  return sent;
}

// Adds the same slice over the replica groups.
std::int64_t GradientSum::over_replicas(const tensor::Tensor& slice) {
  Communicator& replicas = queue_->communicator(1);
  if (replicas.size() == 1) return 0;
  const Cuts cuts(replicas.size(), [count = slice.count(), ranks = replicas.size()](int rank) {
    return count * rank / ranks;
  });
  const std::int64_t own = cuts[replicas.rank()];
  const auto combine = [&](std::span<const tensor::Tensor> parts, std::int64_t at) {
    tensor::sum_tree(parts, plan_->outer().ranks_in_group());
    put(parts[0], slice, own + at);
  };
  return scatter_partial_sums(replicas, slice, cuts, comm_dtype_, combine, space_) +
         all_gather(replicas, slice, cuts);
}

void GradientSum::finish() {
  for (const auto& sum : sums_) queue_->wait(sum->ticket);
  if (mesh_.tensor().size() > 1) add_over_tensor_ranks();
}

tensor::Tensor GradientSum::part(std::size_t unit) { return sums_[unit]->result; }

// Units with such parameters have the same cuts on all tensor ranks, so that this rank owns the
// same elements on all of them.
void GradientSum::add_over_tensor_ranks() {
  std::vector<tensor::Tensor> ranges;
  std::int64_t count = 0;
  for (std::size_t u = 0; u < units_.size(); ++u) {
    for (const auto& span : spans_in(units_[u], shards_[u].begin, shards_[u].end)) {
      if (span.info.tensor_gradient != TensorGradient::kSum) continue;
      ranges.push_back(sums_[u]->result.column_range(span.begin - shards_[u].begin, span.count()));
      count += span.count();
    }
  }
  if (count == 0) return;
  // Packed one after the other; each rank's are a row, and the rows are added in order.
  const int ranks = mesh_.tensor().size();
  const tensor::Buffer memory(static_cast<std::size_t>((ranks + 1) * count) * sizeof(float),
                              device_);
  const tensor::Tensor all = memory.view(tensor::DType::kFloat32, ranks, count),
                       own = memory.row().column_range(ranks * count, count);
  const auto walk = [&](const auto& copy) {
    std::int64_t at = 0;
    for (const tensor::Tensor& range : ranges) {
      copy(range, at);
      at += range.count();
    }
  };
  walk([&](const tensor::Tensor& range, std::int64_t at) { put(range, own, at); });
  all_gather_rows(mesh_.tensor(), own, all);
  const tensor::Tensor total = all.row_range(0, 1);
  for (int rank = 1; rank < ranks; ++rank) tensor::add(all.row_range(rank, 1), total);
  walk([&](const tensor::Tensor& range, std::int64_t at) {
    tensor::copy(total.column_range(at, range.count()), range);
  });
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

std::int64_t GradientSum::exchange_bytes() const { return space_.bytes(); }

}  // namespace eyrie::parallel
