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

void Parameters::initialise(std::uint64_t seed, const std::string& init) {
  for (std::size_t unit = 0; unit < units_.size(); ++unit) {
    for (const ParameterRow& stated : units_[unit].rows) {
      const ParameterRow row = with_init(stated, init);
      const base::Philox random(seed, row.name);
      float* out = masters_[unit].f32() + row.offset;
      tensor::parallel_for(row.count(), 4096, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
          const auto index = static_cast<std::uint64_t>(i);  // the slice is the whole tensor
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
            case Init::kPaperDecay:
              out[i] = paper_decay_value(random.uniform(index));
              break;
          }
        }
      });
    }
  }
  refresh_all();
}

ParameterRow with_init(ParameterRow row, const std::string& init) {
  if (init != "paper") return row;
  if (row.init == Init::kDecay) row.init = Init::kPaperDecay;
  if (row.name.ends_with("_gate/w"))  // (blocks, block, block), in × out: LeCun's 1 / inputs
    row.deviation = std::sqrt(1.0 / static_cast<double>(row.shape[1]));
  return row;
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
