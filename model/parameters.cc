// Shapes and counts of parameters.
#include "model/parameters.h"

namespace eyrie::model {

using parallel::ParameterInfo;
using tensor::Tensor;

std::int64_t columns_of(const ParameterInfo& info) {
  return info.extent.empty() ? 1 : info.extent.back();
}

std::int64_t rows_of(const ParameterInfo& info) {
  return columns_of(info) == 0 ? 0 : info.count() / columns_of(info);
}

Tensor shaped(const ParameterInfo& info, const Tensor& elements) {
  return elements.reshaped(rows_of(info), columns_of(info));
}

Tensor parameter_in(const ParameterInfo& info, const Tensor& unit) {
  return shaped(info, unit.column_range(info.offset, info.count()));
}

std::int64_t whole_parameter_count(const std::vector<parallel::Unit>& units) {
  std::int64_t count = 0;
  for (const parallel::Unit& unit : units) {
    for (const ParameterInfo& info : unit.parameters) count += info.whole_count();
  }
  return count;
}

std::int64_t parameter_count(const std::vector<parallel::Unit>& units) {
  std::int64_t count = 0;
  for (const parallel::Unit& unit : units) {
    for (const ParameterInfo& info : unit.parameters) count += info.count();
  }
  return count;
}

}  // namespace eyrie::model
