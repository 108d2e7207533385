// What the sources of weights share.
#include "model/weight_source.h"

#include <algorithm>

#include "model/griffin.h"
#include "tensor/threads.h"

namespace eyrie::model {

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
