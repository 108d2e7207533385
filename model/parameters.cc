// Shapes and counts of parameters.
#include "model/parameters.h"

namespace eyrie::model {

using parallel::ParameterInfo;
using tensor::DType;
using tensor::Tensor;

Tensor shaped(const ParameterInfo& row, void* data, DType dtype) {
  const std::int64_t columns = row.extent.empty() ? 1 : row.extent.back();
  return {data, dtype, columns == 0 ? 0 : row.count() / columns, columns};
}

Tensor row_of(const ParameterInfo& row, float* buffer) {
  return shaped(row, buffer + row.offset, DType::kFloat32);
}

std::int64_t whole_parameter_count(const std::vector<parallel::Unit>& units) {
  std::int64_t count = 0;
  for (const parallel::Unit& unit : units) {
    for (const ParameterInfo& row : unit.parameters) count += row.whole_count();
  }
  return count;
}

std::int64_t parameter_count(const std::vector<parallel::Unit>& units) {
  std::int64_t count = 0;
  for (const parallel::Unit& unit : units) {
    for (const ParameterInfo& row : unit.parameters) count += row.count();
  }
  return count;
}

}  // namespace eyrie::model
