// matmul: the output rows of a product are split among the threads, and the library that suits the
// processor computes each part.
#include <algorithm>
#include <chrono>
#include <limits>
#include <vector>

#include "tensor/cpu/products.h"
#include "tensor/threads.h"

namespace eyrie::tensor::cpu {

Product Product::rows(std::int64_t first, std::int64_t count) const {
  Product part = *this;
  part.a = options.transpose_a ? a.column_range(first, count) : a.row_range(first, count);
  part.out = out.row_range(first, count);
  return part;
}

Product Product::columns(std::int64_t first, std::int64_t count) const {
  Product part = *this;
  part.b = options.transpose_b ? b.row_range(first, count) : b.column_range(first, count);
  part.out = out.column_range(first, count);
  if (bias) part.bias = bias.column_range(first, count);
  return part;
}

void make_product(const Product& product) {
  if (product.a.dtype() != DType::kFloat32 && !bf16_products_by_onednn())
    return widened_product(product);
  products_by_onednn() ? onednn_product(product) : blis_product(product);
}

namespace {

// Products with sums from this length on are split by columns.
constexpr std::int64_t kLongSum = 16384;

constexpr std::int64_t round_up(std::int64_t n, std::int64_t to) { return (n + to - 1) / to * to; }

// The length of equal pieces of `size`, as a multiple of 64 and at most `most`.
std::int64_t piece_of(std::int64_t size, std::int64_t pieces, std::int64_t most) {
  pieces = std::max(pieces, round_up(size, most) / most);
  return std::max<std::int64_t>(round_up(size / pieces, 64), 64);
}

// Computes rows [row, end_row) and columns [column, end_column) of the output.
void make_tile(const Product& product, std::int64_t row, std::int64_t end_row, std::int64_t column,
               std::int64_t end_column) {
  const Product rows = product.rows(row, end_row - row);
  const bool all = column == 0 && end_column == product.out.columns();
  make_product(all ? rows : rows.columns(column, end_column - column));
}

// A gradient of weights. oneDNN's sums change with the number and stride of a transposed a's
// columns, so the tiles depend on the sizes alone, not on the number of threads. They are large:
// the library packs b again for each row of tiles.
void transposed_product(const Product& product) {
  const std::int64_t m = product.out.rows(), n = product.out.columns();
  const std::int64_t height = piece_of(m, 4, 512), width = piece_of(n, 1, 2048);
  const std::int64_t down = round_up(m, height) / height, across = round_up(n, width) / width;
  parallel_for(down * across, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t tile = begin; tile < end; ++tile) {
      const std::int64_t row = tile % down * height, column = tile / down * width;
      make_tile(product, row, std::min(row + height, m), column, std::min(column + width, n));
    }
  });
}

// Very long sums, of the logits' gradient: each thread reads its own columns of b, the larger
// operand. Rows are not split: with AMX oneDNN's sums over so long a k change with their number.
void product_by_columns(const Product& product) {
  const std::int64_t m = product.out.rows(), n = product.out.columns();
  const std::int64_t width = piece_of(n, 2, 256), across = round_up(n, width) / width;
  parallel_for(across, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t column = begin * width; column < std::min(end * width, n); column += width)
      make_tile(product, 0, m, column, std::min(column + width, n));
  });
}

// K = 0, which the libraries do not accept: the bias, zeros, or with `accumulate` the old values.
void sum_of_nothing(const Tensor& out, bool accumulate, const Tensor& bias) {
  std::vector<float> zeros(static_cast<std::size_t>(out.columns()), 0.0f);
  const Tensor zero(zeros.data(), DType::kFloat32, 1, out.columns());
  for (std::int64_t r = 0; r < out.rows(); ++r) {
    const Tensor row = out.row_range(r, 1);
    if (!accumulate) {
      cpu::convert(bias ? bias : zero, row);
    } else if (bias) {
      cpu::add(bias, row);
    }
  }
}

}  // namespace

void matmul(const Tensor& a, const Tensor& b, const Tensor& out, MatmulOptions options,
            const Tensor& bias) {
  const std::int64_t m = out.rows(), n = out.columns();
  const std::int64_t k = options.transpose_a ? a.rows() : a.columns();
  if (m == 0 || n == 0) return;
  if (k == 0) return sum_of_nothing(out, options.accumulate, bias);
  const Product product{a, b, out, options, bias, k};
  if (options.transpose_a) return transposed_product(product);
  if (k >= kLongSum) return product_by_columns(product);
  parallel_rows(m, [&](std::int64_t begin, std::int64_t end) {
    make_product(product.rows(begin, end - begin));
  });
}

void parallel_rows(std::int64_t rows,
                   const std::function<void(std::int64_t begin, std::int64_t end)>& body) {
  if (rows <= 0) return;
  const std::int64_t tiles = std::max<std::int64_t>(1, rows / kRowTile);
  parallel_for(tiles, 1, [&](std::int64_t begin, std::int64_t end) {
    body(begin * kRowTile, end == tiles ? rows : end * kRowTile);
  });
}

}  // namespace eyrie::tensor::cpu

namespace eyrie::tensor {

double measure_matmul_peak(DType dtype, std::int64_t size, int repeats) {
  const auto elements = static_cast<std::size_t>(size * size);
  std::vector<float> a(elements, 0.0f), b(elements, 0.0f), out(elements);
  const Tensor left(a.data(), dtype, size, size), right(b.data(), dtype, size, size);
  const Tensor result(out.data(), DType::kFloat32, size, size);
  double best = std::numeric_limits<double>::infinity();
  for (int i = 0; i <= repeats; ++i) {  // the first one is a warm-up
    const auto start = std::chrono::steady_clock::now();
    matmul(left, right, result);
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
    if (i > 0) best = std::min(best, taken.count());
  }
  return 2.0 * static_cast<double>(size) * static_cast<double>(size) * static_cast<double>(size) /
         best;
}

}  // namespace eyrie::tensor
