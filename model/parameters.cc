// Masters, compute copies and initialisation.
#include "model/parameters.h"

#include <algorithm>
#include <cmath>

#include "base/philox.h"
#include "tensor/ops/elementwise.h"
#include "tensor/threads.h"

namespace eyrie::model {
namespace {

using parallel::Init;
using parallel::ParameterRow;
using tensor::DType;
using tensor::Tensor;

Tensor shaped(const ParameterRow& row, void* data, DType dtype) {
  const std::int64_t columns = row.extent.empty() ? 1 : row.extent.back();
  return {data, dtype, columns == 0 ? 0 : row.count() / columns, columns};
}

// The a_param of a decay a: ln(1/a − 1), which is −Λ in the paper's a = σ(Λ).
float decay_parameter(double log_a) { return static_cast<float>(std::log(std::expm1(-log_a))); }

// recurrentgemma's init: a² = U (0.999² − 0.9²) + 0.9² + 1e-8.
float decay_value(double uniform) {
  constexpr double low = 0.9 * 0.9, high = 0.999 * 0.999;
  return decay_parameter(0.5 * std::log(uniform * (high - low) + low + 1e-8));
}

// Griffin paper, section 2.4: a^c = U (0.999 − 0.9) + 0.9 with c = 8.
float paper_decay_value(double uniform) {
  return decay_parameter(std::log(uniform * (0.999 - 0.9) + 0.9) / 8);
}

std::vector<parallel::UnitShard> whole_shards(const std::vector<parallel::Unit>& units) {
  std::vector<parallel::UnitShard> shards;
  for (const parallel::Unit& unit : units) shards.push_back({{0, unit.size}, 0, unit.size});
  return shards;
}

}  // namespace

Parameters::Parameters(std::vector<parallel::Unit> units, DType compute)
    : Parameters(units, compute, whole_shards(units), false) {}

Parameters::Parameters(std::vector<parallel::Unit> units, DType compute,
                       const std::vector<parallel::UnitShard>& shards, bool on_demand)
    : units_(std::move(units)),
      compute_(compute),
      lent_(units_.size(), nullptr),
      whole_masters_(compute == DType::kFloat32 && !on_demand),
      on_demand_(on_demand) {
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
    for (const ParameterRow& row : unit.rows) {
      row_offsets_.back().push_back(row.product ? -1 : rows);
      if (!row.product) rows += (row.count() + 15) / 16 * 16;
    }
    rows_.push_back(zeroed(whole_masters_ ? 0 : 4 * rows));
    copies_.push_back(
        zeroed(whole_masters_ || !kept(u) || !has_products(u) ? 0 : unit.size * size_of(compute_)));
  }
}

bool Parameters::has_products(std::size_t unit) const {
  const auto& rows = units_[unit].rows;
  return std::any_of(rows.begin(), rows.end(), [](const ParameterRow& row) { return row.product; });
}

float* Parameters::master_at(std::size_t unit, std::int64_t element) {
  return masters_[unit].f32() + element - (whole_masters_ ? 0 : begins_[unit]);
}
const float* Parameters::master_at(std::size_t unit, std::int64_t element) const {
  return const_cast<Parameters*>(this)->master_at(unit, element);
}

float* Parameters::master(std::size_t unit) {
  EYRIE_CHECK(whole_masters_ || ends_[unit] - begins_[unit] == units_[unit].size,
              "the masters of a whole unit, of which this rank has a shard");
  return masters_[unit].f32();
}
const float* Parameters::master(std::size_t unit) const {
  return const_cast<Parameters*>(this)->master(unit);
}

std::span<std::byte> Parameters::copy(std::size_t unit) {
  const auto bytes = static_cast<std::size_t>(units_[unit].size * size_of(compute_));
  if (whole_masters_) return {masters_[unit].data(), bytes};
  if (!has_products(unit)) return {};
  if (kept(unit)) return {copies_[unit].data(), bytes};
  if (lent_[unit] == nullptr) return {};
  return {lent_[unit], bytes};
}

Parameters::Bytes Parameters::bytes() const {
  const auto all = [](const std::vector<tensor::Buffer>& buffers) {
    std::int64_t sum = 0;
    for (const tensor::Buffer& buffer : buffers) sum += static_cast<std::int64_t>(buffer.size());
    return sum;
  };
  return {all(masters_), all(copies_), all(rows_)};
}

float* Parameters::whole_row(std::size_t unit, int row) {
  const auto r = static_cast<std::size_t>(row);
  if (whole_masters_) return masters_[unit].f32() + units_[unit].rows[r].offset;
  return rows_[unit].f32() + row_offsets_[unit][r];
}

void Parameters::round_shard(std::size_t unit, std::byte* copy) const {
  for (const ParameterRow& row : units_[unit].rows) {
    const std::int64_t from = std::max(row.offset, begins_[unit]),
                       to = std::min(row.offset + row.count(), ends_[unit]);
    if (!row.product || from >= to) continue;
    tensor::parallel_for(to - from, 65536, [&](std::int64_t begin, std::int64_t end) {
      const Tensor masters(const_cast<float*>(master_at(unit, from + begin)), DType::kFloat32, 1,
                           end - begin);
      tensor::convert(masters,
                      {copy + (from + begin) * size_of(compute_), compute_, 1, end - begin});
    });
  }
}

void Parameters::refresh(std::size_t unit) {
  if (!has_masters() || whole_masters_) return;
  if (kept(unit) && has_products(unit)) round_shard(unit, copies_[unit].data());
  for (std::size_t r = 0; r < units_[unit].rows.size(); ++r) {
    const ParameterRow& row = units_[unit].rows[r];
    const std::int64_t from = std::max(row.offset, begins_[unit]),
                       to = std::min(row.offset + row.count(), ends_[unit]);
    if (row.product || from >= to) continue;
    std::copy_n(master_at(unit, from), to - from,
                whole_row(unit, static_cast<int>(r)) + from - row.offset);
  }
}

void Parameters::refresh_all() {
  for (std::size_t unit = 0; unit < units_.size(); ++unit) refresh(unit);
}

Parameters Parameters::for_inference(std::vector<parallel::Unit> units, DType compute,
                                     bool transposed) {
  Parameters parameters({}, compute);
  parameters.transposed_ = transposed;
  parameters.units_ = std::move(units);
  for (const parallel::Unit& unit : parameters.units_)
    parameters.stored_.emplace_back(unit.rows.size());
  return parameters;
}

void Parameters::store(std::size_t unit, int row, std::int64_t first,
                       std::span<const float> values) {
  const ParameterRow& at = units_[unit].rows[static_cast<std::size_t>(row)];
  Stored& stored = stored_[unit][static_cast<std::size_t>(row)];
  const DType dtype = at.product ? compute_ : DType::kFloat32;
  const bool transposed = at.linear && transposed_;
  const Tensor whole = shaped(at, nullptr, dtype);
  const std::int64_t rows = whole.rows() / at.parts, columns = whole.columns();
  const auto part_bytes = static_cast<std::size_t>(rows * columns * size_of(dtype));
  if (stored.parts.empty()) {
    stored.memory = tensor::Buffer(part_bytes * static_cast<std::size_t>(at.parts));
    for (std::int64_t part = 0; part < at.parts; ++part) {
      void* data = stored.memory.data() + static_cast<std::size_t>(part) * part_bytes;
      stored.parts.push_back(
          {transposed ? Tensor(data, dtype, columns, rows) : Tensor(data, dtype, rows, columns),
           transposed});
    }
  }
  const auto count = static_cast<std::int64_t>(values.size());
  EYRIE_CHECK(first >= 0 && first + count <= at.count(), "more elements than the row has");
  if (!transposed) {
    tensor::parallel_for(count, 65536, [&](std::int64_t begin, std::int64_t end) {
      const Tensor from(const_cast<float*>(values.data()) + begin, DType::kFloat32, 1, end - begin);
      std::byte* to = stored.memory.data() + (first + begin) * size_of(dtype);
      tensor::convert(from, {to, dtype, 1, end - begin});
    });
    return;
  }
  EYRIE_CHECK(first % (rows * columns) == 0 && count % (rows * columns) == 0,
              "a linear layer's kernel comes whole");
  for (std::int64_t done = 0; done < count; done += rows * columns) {
    const Tensor from(const_cast<float*>(values.data()) + done, DType::kFloat32, rows, columns);
    tensor::transpose(
        from, stored.parts[static_cast<std::size_t>((first + done) / (rows * columns))].tensor);
  }
}

void Parameters::map(std::size_t unit, int row, std::int64_t part, const void* data,
                     std::shared_ptr<const void> owner) {
  const ParameterRow& at = units_[unit].rows[static_cast<std::size_t>(row)];
  Stored& stored = stored_[unit][static_cast<std::size_t>(row)];
  EYRIE_CHECK(at.product, "only operands of products are mapped");
  const Tensor whole = shaped(at, nullptr, compute_);
  const std::int64_t rows = whole.rows() / at.parts, columns = whole.columns();
  stored.parts.resize(static_cast<std::size_t>(at.parts));
  stored.parts[static_cast<std::size_t>(part)] = {
      at.linear ? Tensor(const_cast<void*>(data), compute_, columns, rows)
                : Tensor(const_cast<void*>(data), compute_, rows, columns),
      at.linear};
  if (owners_.empty() || owners_.back() != owner) owners_.push_back(std::move(owner));
}

Weight Parameters::matrix(std::size_t unit, int row, std::int64_t part) const {
  const ParameterRow& at = units_[unit].rows[static_cast<std::size_t>(row)];
  if (stored_.empty()) {
    const Tensor whole = weight(unit, row);
    const std::int64_t rows = whole.rows() / at.parts;
    return {whole.row_range(part * rows, rows), false};
  }
  const Stored& stored = stored_[unit][static_cast<std::size_t>(row)];
  EYRIE_CHECK(!stored.parts.empty(), "a weight that was never loaded: " + at.name);
  return stored.parts[static_cast<std::size_t>(part)];
}

Tensor Parameters::weight(std::size_t unit, int row) const {
  const ParameterRow& at = units_[unit].rows[static_cast<std::size_t>(row)];
  if (!stored_.empty()) {
    EYRIE_CHECK(at.parts == 1 && !at.linear, "matrix() gives this row: " + at.name);
    return matrix(unit, row).tensor;
  }
  return trained_weight(unit, row);
}

Tensor Parameters::trained_weight(std::size_t unit, int row) const {
  auto& self = const_cast<Parameters&>(*this);
  const ParameterRow& at = units_[unit].rows[static_cast<std::size_t>(row)];
  if (!at.product) return shaped(at, self.whole_row(unit, row), DType::kFloat32);
  const std::span<std::byte> copy = self.copy(unit);
  EYRIE_CHECK(!copy.empty(), "a unit that is read without being fetched: " + at.name);
  return shaped(at, copy.data() + at.offset * size_of(compute_), compute_);
}

void Parameters::initialise(std::uint64_t seed) {
  for (std::size_t unit = 0; unit < units_.size(); ++unit) {
    for (const ParameterRow& row : units_[unit].rows) {
      const std::int64_t from = std::max(row.offset, begins_[unit]),
                         to = std::min(row.offset + row.count(), ends_[unit]);
      if (from < to) initial_values(row, seed, from - row.offset, to - from, master_at(unit, from));
    }
  }
  refresh_all();
}

void initial_values(const ParameterRow& row, std::uint64_t seed, std::int64_t first,
                    std::int64_t count, float* out) {
  const base::Philox random(seed, row.name);
  const auto value = [&](std::int64_t global) {
    const auto index = static_cast<std::uint64_t>(global);
    switch (row.init) {
      case Init::kZeros:
        return 0.0f;
      case Init::kNormal:
        return static_cast<float>(row.deviation * random.normal(index));
      case Init::kDecay:
        return decay_value(random.uniform(index));
      case Init::kPaperDecay:
        return paper_decay_value(random.uniform(index));
    }
    return 0.0f;
  };
  tensor::parallel_for(count, 4096, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i)
      out[i] = value(parallel::global_index(row, first + i));
  });
}

Tensor row_of(const ParameterRow& row, float* buffer) {
  return shaped(row, buffer + row.offset, DType::kFloat32);
}

std::int64_t whole_parameter_count(const std::vector<parallel::Unit>& units) {
  std::int64_t count = 0;
  for (const parallel::Unit& unit : units) {
    for (const ParameterRow& row : unit.rows) count += row.whole_count();
  }
  return count;
}

std::int64_t parameter_count(const std::vector<parallel::Unit>& units) {
  std::int64_t count = 0;
  for (const parallel::Unit& unit : units) {
    for (const ParameterRow& row : unit.rows) count += row.count();
  }
  return count;
}

}  // namespace eyrie::model
