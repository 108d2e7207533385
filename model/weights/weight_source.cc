// What the sources of weights share.
#include "model/weights/weight_source.h"

#include <algorithm>

#include "model/griffin.h"
#include "tensor/threads.h"

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

void transpose(const float* in, std::int64_t rows, std::int64_t columns, std::int64_t in_stride,
               float* out, std::int64_t out_stride) {
  constexpr std::int64_t kTile = 32;  // two tiles fit the first cache
  tensor::parallel_for(columns, kTile, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t c0 = begin; c0 < end; c0 += kTile) {
      const std::int64_t c1 = std::min(c0 + kTile, end);
      for (std::int64_t r0 = 0; r0 < rows; r0 += kTile) {
        const std::int64_t r1 = std::min(r0 + kTile, rows);
        for (std::int64_t c = c0; c < c1; ++c) {
          for (std::int64_t r = r0; r < r1; ++r) out[c * out_stride + r] = in[r * in_stride + c];
        }
      }
    }
  });
}

}  // namespace eyrie::model
