// Masters, compute copies and initialisation.
#include "model/parameters.h"

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

// recurrentgemma's init of a_param: a² = U (0.999² − 0.9²) + 0.9² + 1e-8, a_param = ln(1/a − 1).
float decay_value(double uniform) {
  constexpr double low = 0.9 * 0.9, high = 0.999 * 0.999;
  const double log_a = 0.5 * std::log(uniform * (high - low) + low + 1e-8);
  return static_cast<float>(std::log(std::expm1(-log_a)));
}

}  // namespace

Parameters::Parameters(std::vector<parallel::Unit> units, DType compute)
    : units_(std::move(units)), compute_(compute) {
  for (const parallel::Unit& unit : units_) {
    masters_.emplace_back(static_cast<std::size_t>(unit.size) * 4);
    masters_.back().zero();
    copies_.emplace_back(compute_ == DType::kBFloat16 ? static_cast<std::size_t>(unit.size) * 2
                                                      : 0);
  }
}

void Parameters::refresh(std::size_t unit) {
  if (compute_ == DType::kFloat32) return;
  for (const ParameterRow& row : units_[unit].rows) {
    if (!row.product) continue;
    tensor::convert(shaped(row, masters_[unit].f32() + row.offset, DType::kFloat32),
                    shaped(row, copies_[unit].data() + row.offset * 2, compute_));
  }
}

void Parameters::refresh_all() {
  for (std::size_t unit = 0; unit < units_.size(); ++unit) refresh(unit);
}

Tensor Parameters::weight(std::size_t unit, int row) const {
  const ParameterRow& at = units_[unit].rows[static_cast<std::size_t>(row)];
  if (at.product && compute_ != DType::kFloat32)
    return shaped(at, copies_[unit].data() + at.offset * 2, compute_);
  return shaped(at, masters_[unit].f32() + at.offset, DType::kFloat32);
}

void Parameters::initialise(std::uint64_t seed) {
  for (std::size_t unit = 0; unit < units_.size(); ++unit) {
    for (const ParameterRow& row : units_[unit].rows)
      initial_values(row, seed, 0, row.count(), masters_[unit].f32() + row.offset);
  }
  refresh_all();
}

void initial_values(const ParameterRow& row, std::uint64_t seed, std::int64_t first,
                    std::int64_t count, float* out) {
  const base::Philox random(seed, row.name);
  tensor::parallel_for(count, 4096, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const auto index = static_cast<std::uint64_t>(first + i);
      switch (row.init) {
        case Init::kZeros:
          out[i] = 0.0f;
          break;
        case Init::kNormal:
          out[i] = static_cast<float>(row.deviation * random.normal(index));
          break;
        case Init::kDecay:
          out[i] = decay_value(random.uniform(index));
          break;
      }
    }
  });
}

Tensor row_of(const ParameterRow& row, float* buffer) {
  return shaped(row, buffer + row.offset, DType::kFloat32);
}

std::int64_t parameter_count(const std::vector<parallel::Unit>& units) {
  std::int64_t count = 0;
  for (const parallel::Unit& unit : units) {
    for (const ParameterRow& row : unit.rows) count += row.count();
  }
  return count;
}

}  // namespace eyrie::model
