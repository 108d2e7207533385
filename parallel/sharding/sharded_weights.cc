// Master weights and compute-dtype copies of units.
#include "parallel/sharding/sharded_weights.h"

#include <algorithm>

#include "base/error.h"
#include "tensor/ops/elementwise.h"

namespace eyrie::parallel {

using tensor::DType;
using tensor::Tensor;

ShardedWeights::ShardedWeights(const std::vector<Unit>& units, DType compute,
                               const std::vector<UnitShard>& shards, bool sharded,
                               tensor::Device device)
    : units_(units),
      compute_(compute),
      device_(device),
      whole_masters_(compute == DType::kFloat32 && !sharded),
      sharded_(sharded),
      gathered_(units.size()) {
  const auto zeroed = [&](std::int64_t bytes) {
    tensor::Buffer buffer(static_cast<std::size_t>(bytes), device);
    buffer.zero();
    return buffer;
  };
  for (std::size_t u = 0; u < units_.size(); ++u) {
    const Unit& unit = units_[u];
    begins_.push_back(shards[u].begin);
    ends_.push_back(shards[u].end);
    masters_.push_back(zeroed(4 * (whole_masters_ ? unit.size : shards[u].size())));
    std::int64_t elements = 0;
    vector_offsets_.emplace_back();
    for (const ParameterInfo& info : unit.parameters) {
      vector_offsets_.back().push_back(info.product ? -1 : elements);
      if (!info.product) elements += (info.count() + 15) / 16 * 16;
    }
    vectors_.push_back(zeroed(whole_masters_ ? 0 : 4 * elements));
    copies_.push_back(zeroed(
        whole_masters_ || !is_resident(u) || !has_products(u) ? 0 : unit.size * size_of(compute_)));
  }
}

bool ShardedWeights::has_products(std::size_t unit) const {
  const auto& rows = units_[unit].parameters;
  return std::any_of(rows.begin(), rows.end(),
                     [](const ParameterInfo& row) { return row.product; });
}

Tensor ShardedWeights::masters(std::size_t unit, std::int64_t begin, std::int64_t end) const {
  return masters_[unit].row().column_range(begin - (whole_masters_ ? 0 : begins_[unit]),
                                           end - begin);
}

Tensor ShardedWeights::masters(std::size_t unit) const {
  EYRIE_CHECK(whole_masters_ || ends_[unit] - begins_[unit] == units_[unit].size,
              "the masters of a whole unit, of which this rank has a shard");
  return masters_[unit].row();
}

Tensor ShardedWeights::copy(std::size_t unit) const {
  if (whole_masters_) return masters_[unit].row();
  if (!has_products(unit)) return {};
  return is_resident(unit) ? copies_[unit].row(compute_) : gathered_[unit];
}

ShardedWeights::Bytes ShardedWeights::bytes() const {
  const auto all = [](const std::vector<tensor::Buffer>& buffers) {
    std::int64_t sum = 0;
    for (const tensor::Buffer& buffer : buffers) sum += static_cast<std::int64_t>(buffer.size());
    return sum;
  };
  return {all(masters_), all(copies_), all(vectors_)};
}

Tensor ShardedWeights::whole_vector(std::size_t unit, int parameter) const {
  const ParameterInfo& at = units_[unit].parameters[static_cast<std::size_t>(parameter)];
  if (whole_masters_) return masters_[unit].row().column_range(at.offset, at.count());
  const std::int64_t offset = vector_offsets_[unit][static_cast<std::size_t>(parameter)];
  return vectors_[unit].row().column_range(offset, at.count());
}

void ShardedWeights::round_shard(std::size_t unit, const Tensor& copy) const {
  if (device_ == tensor::Device::kMeta) return;  // called for every use of a gathered unit
  for (const auto& span : spans_in(units_[unit], begins_[unit], ends_[unit])) {
    if (span.info.product)
      tensor::convert(masters(unit, span.begin, span.end),
                      copy.column_range(span.begin, span.count()));
  }
}

void ShardedWeights::refresh(std::size_t unit) {
  if (whole_masters_) return;
  if (is_resident(unit) && has_products(unit)) round_shard(unit, copies_[unit].row(compute_));
  for (const auto& span : spans_in(units_[unit], begins_[unit], ends_[unit])) {
    if (span.info.product) continue;
    tensor::copy(
        masters(unit, span.begin, span.end),
        whole_vector(unit, span.index).column_range(span.begin - span.info.offset, span.count()));
  }
}

void ShardedWeights::refresh_all() {
  for (std::size_t unit = 0; unit < units_.size(); ++unit) refresh(unit);
}

}  // namespace eyrie::parallel
