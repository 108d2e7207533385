// What the sources of weights share.
#include "model/weights/weight_source.h"

#include <algorithm>

#include "model/griffin.h"

namespace eyrie::model {

void read_weights(const WeightSource& source, Parameters& parameters) {
  for (std::size_t u = 0; u < parameters.units().size(); ++u) {
    for (std::size_t r = 0; r < parameters.units()[u].rows.size(); ++r)
      read_row(source, u, static_cast<int>(r), parameters);
  }
  parameters.refresh_all();
}

void read_row(const WeightSource& source, std::size_t unit, int number, Parameters& parameters) {
  const parallel::ParameterRow& row =
      parameters.units()[unit].rows[static_cast<std::size_t>(number)];
  if (parameters.has_masters())
    return source.read(row, 0, row.count(), parameters.master(unit) + row.offset);
  const std::int64_t piece = row.linear ? row.count() / row.parts : kPieceElements;
  std::vector<float> values;
  for (std::int64_t first = 0; first < row.count(); first += piece) {
    const std::int64_t count = std::min(piece, row.count() - first);
    values.resize(static_cast<std::size_t>(count));
    source.read(row, first, count, values.data());
    parameters.store(unit, number, first, values);
  }
}

std::vector<parallel::ParameterRow> rows_of(const GriffinConfig& config) {
  const Griffin griffin(config);
  std::vector<parallel::ParameterRow> rows;
  for (const parallel::Unit& unit : griffin.units())
    rows.insert(rows.end(), unit.rows.begin(), unit.rows.end());
  return rows;
}

}  // namespace eyrie::model
