// Master weights and compute-dtype copies.
#include "model/training_parameters.h"

#include <algorithm>

#include "base/error.h"
#include "model/initialization.h"
#include "tensor/ops/elementwise.h"
#include "tensor/threads.h"

namespace eyrie::model {
namespace {

using parallel::ParameterInfo;
using tensor::DType;
using tensor::Tensor;

std::vector<parallel::UnitShard> whole_shards(const std::vector<parallel::Unit>& units) {
  std::vector<parallel::UnitShard> shards;
  for (const parallel::Unit& unit : units) shards.push_back({{0, unit.size}, 0, unit.size});
  return shards;
}

}  // namespace

TrainingParameters::TrainingParameters(std::vector<parallel::Unit> units, DType compute)
    : TrainingParameters(units, compute, whole_shards(units), false) {}

TrainingParameters::TrainingParameters(std::vector<parallel::Unit> units, DType compute,
                                       const std::vector<parallel::UnitShard>& shards, bool sharded)
    : Parameters(std::move(units), compute),
      gathered_(units_.size(), nullptr),
      whole_masters_(compute == DType::kFloat32 && !sharded),
      sharded_(sharded) {
  const auto zeroed = [](std::int64_t bytes) {
    tensor::Buffer buffer(static_cast<std::size_t>(bytes));
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

float* TrainingParameters::master_at(std::size_t unit, std::int64_t element) {
  return masters_[unit].f32() + element - (whole_masters_ ? 0 : begins_[unit]);
}
const float* TrainingParameters::master_at(std::size_t unit, std::int64_t element) const {
  return const_cast<TrainingParameters*>(this)->master_at(unit, element);
}

float* TrainingParameters::master(std::size_t unit) {
  EYRIE_CHECK(whole_masters_ || ends_[unit] - begins_[unit] == units_[unit].size,
              "the masters of a whole unit, of which this rank has a shard");
  return masters_[unit].f32();
}
const float* TrainingParameters::master(std::size_t unit) const {
  return const_cast<TrainingParameters*>(this)->master(unit);
}

std::span<std::byte> TrainingParameters::copy(std::size_t unit) {
  const auto bytes = static_cast<std::size_t>(units_[unit].size * size_of(compute_));
  if (whole_masters_) return {masters_[unit].data(), bytes};
  if (!has_products(unit)) return {};
  if (is_resident(unit)) return {copies_[unit].data(), bytes};
  if (gathered_[unit] == nullptr) return {};
  return {gathered_[unit], bytes};
}

TrainingParameters::Bytes TrainingParameters::bytes() const {
  const auto all = [](const std::vector<tensor::Buffer>& buffers) {
    std::int64_t sum = 0;
    for (const tensor::Buffer& buffer : buffers) sum += static_cast<std::int64_t>(buffer.size());
    return sum;
  };
  return {all(masters_), all(copies_), all(rows_)};
}

float* TrainingParameters::whole_row(std::size_t unit, int row) {
  const auto r = static_cast<std::size_t>(row);
  if (whole_masters_) return masters_[unit].f32() + units_[unit].parameters[r].offset;
  return rows_[unit].f32() + row_offsets_[unit][r];
}

void TrainingParameters::round_shard(std::size_t unit, std::byte* copy) const {
  for (const auto& span : parallel::spans_in(units_[unit], begins_[unit], ends_[unit])) {
    if (!span.info.product) continue;
    tensor::parallel_for(span.count(), 65536, [&](std::int64_t begin, std::int64_t end) {
      const std::int64_t at = span.begin + begin;
      const Tensor masters(const_cast<float*>(master_at(unit, at)), DType::kFloat32, 1,
                           end - begin);
      tensor::convert(masters, {copy + at * size_of(compute_), compute_, 1, end - begin});
    });
  }
}

void TrainingParameters::refresh(std::size_t unit) {
  if (whole_masters_) return;
  if (is_resident(unit) && has_products(unit)) round_shard(unit, copies_[unit].data());
  for (const auto& span : parallel::spans_in(units_[unit], begins_[unit], ends_[unit])) {
    if (!span.info.product)
      std::copy_n(master_at(unit, span.begin), span.count(),
                  whole_row(unit, span.index) + span.begin - span.info.offset);
  }
}

void TrainingParameters::refresh_all() {
  for (std::size_t unit = 0; unit < units_.size(); ++unit) refresh(unit);
}

void TrainingParameters::store(std::size_t unit, int row, std::int64_t first,
                               std::span<const float> values) {
  std::copy(values.begin(), values.end(), master(unit) + info(unit, row).offset + first);
}

Weight TrainingParameters::matrix(std::size_t unit, int row, std::int64_t part) const {
  const Tensor whole = weight(unit, row);
  const std::int64_t rows = whole.rows() / info(unit, row).parts;
  return {whole.row_range(part * rows, rows), false};
}

Tensor TrainingParameters::weight(std::size_t unit, int row) const {
  auto& self = const_cast<TrainingParameters&>(*this);
  const ParameterInfo& at = info(unit, row);
  if (!at.product) return shaped(at, self.whole_row(unit, row), DType::kFloat32);
  const std::span<std::byte> copy = self.copy(unit);
  EYRIE_CHECK(!copy.empty(), "a unit that is read without being fetched: " + at.name);
  return shaped(at, copy.data() + at.offset * size_of(compute_), compute_);
}

void TrainingParameters::initialise(std::uint64_t seed) {
  for (std::size_t unit = 0; unit < units_.size(); ++unit) {
    for (const auto& span : parallel::spans_in(units_[unit], begins_[unit], ends_[unit]))
      initial_values(span.info, seed, span.begin - span.info.offset, span.count(),
                     master_at(unit, span.begin));
  }
  refresh_all();
}

}  // namespace eyrie::model
