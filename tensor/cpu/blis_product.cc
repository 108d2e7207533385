// Products by BLIS (Van Zee and van de Geijn 2015): its packed kernels compute every element in the
// same way, whatever the sizes and strides. Its other path, for small products, is left out.
#include <blis.h>

#include <algorithm>
#include <vector>

#include "tensor/cpu/products.h"
#include "tensor/ops/elementwise.h"

namespace eyrie::tensor {
namespace {

// Of what is widened at a time: 9 MB per thread at the most. The sums of a bf16 product are cut at
// kInner, whatever its other sizes.
constexpr std::int64_t kRows = 512, kColumns = 512, kInner = 2048;

// A matrix as BLIS takes it: where it begins, and the steps from row to row and column to column.
struct Matrix {
  const float* data;
  std::int64_t row_step, column_step;
};

Matrix matrix(const Tensor& x, bool transposed) {
  return transposed ? Matrix{x.f32(), 1, x.stride()} : Matrix{x.f32(), x.stride(), 1};
}

// out = a · b, or out += a · b.
void multiply(const Matrix& a, const Matrix& b, const Tensor& out, std::int64_t k,
              bool accumulate) {
  float one = 1, beta = accumulate ? 1 : 0;
  rntm_t runtime = BLIS_RNTM_INITIALIZER;
  bli_rntm_set_num_threads(1, &runtime);
  bli_rntm_disable_l3_sup(&runtime);
  bli_sgemm_ex(BLIS_NO_TRANSPOSE, BLIS_NO_TRANSPOSE, out.rows(), out.columns(), k, &one,
               const_cast<float*>(a.data), a.row_step, a.column_step, const_cast<float*>(b.data),
               b.row_step, b.column_step, &beta, out.f32(), out.stride(), 1, nullptr, &runtime);
}

void add_bias(const Tensor& bias, const Tensor& out) {
  for (std::int64_t r = 0; r < out.rows(); ++r) add(bias, out.row_range(r, 1));
}

// [row, row + rows) x [column, column + columns) of x, or of its transpose, as fp32.
Matrix widened(const Tensor& x, bool transposed, std::int64_t row, std::int64_t rows,
               std::int64_t column, std::int64_t columns, std::vector<float>& memory) {
  if (transposed) {
    std::swap(row, column);
    std::swap(rows, columns);
  }
  memory.resize(static_cast<std::size_t>(rows * columns));
  const Tensor wide(memory.data(), DType::kFloat32, rows, columns);
  convert(x.row_range(row, rows).column_range(column, columns), wide);
  return matrix(wide, transposed);
}

void widened_product(const Product& p) {
  thread_local std::vector<float> a_memory, b_memory, out_memory;
  const bool narrow = p.out.dtype() != DType::kFloat32;
  for (std::int64_t row = 0; row < p.out.rows(); row += kRows) {
    const std::int64_t rows = std::min(kRows, p.out.rows() - row);
    for (std::int64_t column = 0; column < p.out.columns(); column += kColumns) {
      const std::int64_t columns = std::min(kColumns, p.out.columns() - column);
      const Tensor part = p.out.row_range(row, rows).column_range(column, columns);
      if (narrow) out_memory.resize(static_cast<std::size_t>(rows * columns));
      const Tensor sums = narrow ? Tensor(out_memory.data(), DType::kFloat32, rows, columns) : part;
      for (std::int64_t first = 0; first < p.k; first += kInner) {
        const std::int64_t inner = std::min(kInner, p.k - first);
        multiply(widened(p.a, p.options.transpose_a, row, rows, first, inner, a_memory),
                 widened(p.b, p.options.transpose_b, first, inner, column, columns, b_memory), sums,
                 inner, p.options.accumulate || first > 0);
      }
      if (p.bias) add_bias(p.bias.column_range(column, columns), sums);
      if (narrow) convert(sums, part);
    }
  }
}

}  // namespace

void blis_product(const Product& p) {
  if (p.a.dtype() != DType::kFloat32) return widened_product(p);
  multiply(matrix(p.a, p.options.transpose_a), matrix(p.b, p.options.transpose_b), p.out, p.k,
           p.options.accumulate);
  if (p.bias) add_bias(p.bias, p.out);
}

}  // namespace eyrie::tensor
