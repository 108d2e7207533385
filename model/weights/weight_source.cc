// What all sources of weights share.
#include "model/weights/weight_source.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "model/griffin.h"

namespace eyrie::model {

void read_weights(const WeightSource& source, Parameters& parameters) {
  for (std::size_t u = 0; u < parameters.units().size(); ++u) {
    for (std::size_t r = 0; r < parameters.units()[u].parameters.size(); ++r)
      read_parameter(source, u, static_cast<int>(r), parameters);
  }
  parameters.finish_loading();
}

namespace {

// Throws InputError if a value would round to an infinity.
void check_bfloat16_range(const WeightSource& source, const parallel::ParameterInfo& info,
                          const std::vector<float>& values) {
  constexpr float kBeyond = 0x1.FFp127f;
  const bool within = std::all_of(values.begin(), values.end(),
                                  [](float value) { return std::abs(value) < kBeyond; });
  if (within) return;
  throw base::InputError(
      fmt::format("{}: {} has a value that is too large for bf16; use --precision fp32",
                  source.description(), info.name));
}

}  // namespace

void read_parameter(const WeightSource& source, std::size_t unit, int number,
                    Parameters& parameters) {
  const parallel::ParameterInfo& info =
      parameters.units()[unit].parameters[static_cast<std::size_t>(number)];
  // Whole rows.
  const std::int64_t columns = columns_of(info),
                     rows = std::max<std::int64_t>(1, kPieceElements / columns);
  const std::int64_t piece = info.linear ? info.count() / info.parts : rows * columns;
  std::vector<float> values;
  for (std::int64_t first = 0; first < info.count(); first += piece) {
    const std::int64_t count = std::min(piece, info.count() - first);
    values.resize(static_cast<std::size_t>(count));
    source.read(info, first, count, values.data());
    if (parameters.stored_dtype(unit, number) == tensor::DType::kBFloat16)
      check_bfloat16_range(source, info, values);
    parameters.store(unit, number, first, values);
  }
}

std::vector<parallel::ParameterInfo> rows_of(const GriffinConfig& config) {
  const Griffin griffin(config);
  std::vector<parallel::ParameterInfo> rows;
  for (const parallel::Unit& unit : griffin.units())
    rows.insert(rows.end(), unit.parameters.begin(), unit.parameters.end());
  return rows;
}

}  // namespace eyrie::model
