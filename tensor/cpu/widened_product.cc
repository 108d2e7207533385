// bf16 products on a processor without bf16 instructions: the same values are multiplied in fp32,
// widened piece by piece.
#include <algorithm>
#include <vector>

#include "tensor/cpu/kernels.h"
#include "tensor/cpu/products.h"

namespace eyrie::tensor::cpu {
namespace {

// The largest piece that is widened at a time: at most 14 MB per thread. Sums are split at kInner,
// whatever the product's other sizes.
constexpr std::int64_t kRows = 1024, kColumns = 512, kInner = 2048;

// [row, row + rows) x [column, column + columns) of op(x), laid out as x is.
Tensor widened(const Tensor& x, bool transposed, std::int64_t row, std::int64_t rows,
               std::int64_t column, std::int64_t columns, std::vector<float>& memory) {
  if (transposed) {
    std::swap(row, column);
    std::swap(rows, columns);
  }
  memory.resize(static_cast<std::size_t>(rows * columns));
  const Tensor wide(memory.data(), DType::kFloat32, rows, columns);
  cpu::convert(x.row_range(row, rows).column_range(column, columns), wide);
  return wide;
}

}  // namespace

// Up to sums of kInner the rows' piece of a is widened once for all columns.
void widened_product(const Product& p) {
  thread_local std::vector<float> a_memory, b_memory, out_memory;
  const bool once = p.k <= kInner;
  for (std::int64_t row = 0; row < p.out.rows(); row += kRows) {
    const std::int64_t rows = std::min(kRows, p.out.rows() - row);
    Tensor a;
    const auto widened_a = [&](std::int64_t first, std::int64_t inner) {
      return widened(p.a, p.options.transpose_a, row, rows, first, inner, a_memory);
    };
    if (once) a = widened_a(0, p.k);
    for (std::int64_t column = 0; column < p.out.columns(); column += kColumns) {
      const std::int64_t columns = std::min(kColumns, p.out.columns() - column);
      const Tensor part = p.out.row_range(row, rows).column_range(column, columns);
      out_memory.resize(static_cast<std::size_t>(rows * columns));
      // Sums go to their place at once if they stay fp32 there, side by side.
      const bool in_place = part.dtype() == DType::kFloat32 && part.stride() == columns;
      const Tensor sums =
          in_place ? part : Tensor(out_memory.data(), DType::kFloat32, rows, columns);
      if (!in_place && p.options.accumulate) cpu::convert(part, sums);
      for (std::int64_t first = 0; first < p.k; first += kInner) {
        const std::int64_t inner = std::min(kInner, p.k - first);
        Product piece{once ? a : widened_a(first, inner),
                      widened(p.b, p.options.transpose_b, first, inner, column, columns, b_memory),
                      sums,
                      p.options,
                      p.bias && first == 0 ? p.bias.column_range(column, columns) : Tensor(),
                      inner};
        piece.options.accumulate = p.options.accumulate || first > 0;
        make_product(piece);
      }
      if (!in_place) cpu::convert(sums, part);
    }
  }
}

}  // namespace eyrie::tensor::cpu
