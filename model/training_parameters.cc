// Master weights and compute-dtype copies.
#include "model/training_parameters.h"

#include <algorithm>

#include "base/error.h"
#include "model/initialization.h"
#include "tensor/ops/elementwise.h"

namespace eyrie::model {
namespace {

using parallel::ParameterInfo;
using tensor::DType;
using tensor::Tensor;

std::vector<parallel::UnitShard> whole_shards(const std::vector<parallel::Unit>& units) {
  std::vector<parallel::UnitShard> shards;
  for (const parallel::Unit& unit : units)
    shards.push_back({parallel::Cuts({0, unit.size}), 0, unit.size});
  return shards;
}

}  // namespace

TrainingParameters::TrainingParameters(std::vector<parallel::Unit> units, DType compute)
    : TrainingParameters(units, compute, whole_shards(units), false) {}

TrainingParameters::TrainingParameters(std::vector<parallel::Unit> units, DType compute,
                                       const std::vector<parallel::UnitShard>& shards, bool sharded,
                                       tensor::Device device)
    : Parameters(std::move(units), compute),
      gathered_(units_.size()),
      device_(device),
      whole_masters_(compute == DType::kFloat32 && !sharded),
      sharded_(sharded) {
  const auto zeroed = [&](std::int64_t bytes) {
    tensor::Buffer buffer(static_cast<std::size_t>(bytes), device);
    buffer.zero();
    return buffer;
  };
  for (std::size_t u = 0; u < units_.size(); ++u) {
    const parallel::Unit& unit = units_[u];
    begins_.push_back(shards[u].begin);
    ends_.push_back(shards[u].end);
    masters_.push_back(zeroed(4 * (whole_masters_ ? unit.size : shards[u].size())));
    std::int64_t rows = 0;
    row_offsets_.emplace_back();
    for (const ParameterInfo& row : unit.parameters) {
      row_offsets_.back().push_back(row.product ? -1 : rows);
      if (!row.product) rows += (row.count() + 15) / 16 * 16;
    }
    rows_.push_back(zeroed(whole_masters_ ? 0 : 4 * rows));
    copies_.push_back(zeroed(
        whole_masters_ || !is_resident(u) || !has_products(u) ? 0 : unit.size * size_of(compute_)));
  }
}

bool TrainingParameters::has_products(std::size_t unit) const {
  const auto& rows = units_[unit].parameters;
  return std::any_of(rows.begin(), rows.end(),
                     [](const ParameterInfo& row) { return row.product; });
}

Tensor TrainingParameters::masters(std::size_t unit, std::int64_t begin, std::int64_t end) const {
  return masters_[unit].row().column_range(begin - (whole_masters_ ? 0 : begins_[unit]),
                                           end - begin);
}

Tensor TrainingParameters::masters(std::size_t unit) const {
  EYRIE_CHECK(whole_masters_ || ends_[unit] - begins_[unit] == units_[unit].size,
              "the masters of a whole unit, of which this rank has a shard");
  return masters_[unit].row();
}

Tensor TrainingParameters::copy(std::size_t unit) const {
  if (whole_masters_) return masters_[unit].row();
  if (!has_products(unit)) return {};
  return is_resident(unit) ? copies_[unit].row(compute_) : gathered_[unit];
}

TrainingParameters::Bytes TrainingParameters::bytes() const {
  const auto all = [](const std::vector<tensor::Buffer>& buffers) {
    std::int64_t sum = 0;
    for (const tensor::Buffer& buffer : buffers) sum += static_cast<std::int64_t>(buffer.size());
    return sum;
  };
  return {all(masters_), all(copies_), all(rows_)};
}

Tensor TrainingParameters::whole_row(std::size_t unit, int row) const {
  const ParameterInfo& at = info(unit, row);
  if (whole_masters_) return masters_[unit].row().column_range(at.offset, at.count());
  const std::int64_t offset = row_offsets_[unit][static_cast<std::size_t>(row)];
  return rows_[unit].row().column_range(offset, at.count());
}

void TrainingParameters::round_shard(std::size_t unit, const Tensor& copy) const {
  if (device_ == tensor::Device::kMeta) return;  // called for every use of a gathered unit
  for (const auto& span : parallel::spans_in(units_[unit], begins_[unit], ends_[unit])) {
    if (span.info.product)
      tensor::convert(masters(unit, span.begin, span.end),
                      copy.column_range(span.begin, span.count()));
  }
}

void TrainingParameters::refresh(std::size_t unit) {
  if (whole_masters_) return;
  if (is_resident(unit) && has_products(unit)) round_shard(unit, copies_[unit].row(compute_));
  for (const auto& span : parallel::spans_in(units_[unit], begins_[unit], ends_[unit])) {
    if (span.info.product) continue;
    tensor::copy(
        masters(unit, span.begin, span.end),
        whole_row(unit, span.index).column_range(span.begin - span.info.offset, span.count()));
  }
}

void TrainingParameters::refresh_all() {
  for (std::size_t unit = 0; unit < units_.size(); ++unit) refresh(unit);
}

void TrainingParameters::store(std::size_t unit, int row, std::int64_t first,
                               std::span<const float> values) {
  const Tensor to = masters(unit).column_range(info(unit, row).offset + first, std::ssize(values));
  std::copy(values.begin(), values.end(), to.f32());
}

Weight TrainingParameters::matrix(std::size_t unit, int row, std::int64_t part) const {
  const Tensor whole = weight(unit, row);
  const std::int64_t rows = whole.rows() / info(unit, row).parts;
  return {whole.row_range(part * rows, rows), false};
}

Tensor TrainingParameters::weight(std::size_t unit, int row) const {
  const ParameterInfo& at = info(unit, row);
  if (!at.product) return shaped(at, whole_row(unit, row));
  const Tensor whole = copy(unit);
  EYRIE_CHECK(whole, "a unit that is read without being gathered: " + at.name);
  return parameter_in(at, whole);
}

void TrainingParameters::initialise(std::uint64_t seed) {
  for (std::size_t unit = 0; unit < units_.size(); ++unit) {
    for (const auto& span : parallel::spans_in(units_[unit], begins_[unit], ends_[unit]))
      initial_values(span.info, seed, span.begin - span.info.offset, span.count(),
                     masters(unit, span.begin, span.end).f32());
  }
  refresh_all();
}

}  // namespace eyrie::model
