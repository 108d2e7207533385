// The two libraries under matmul: by BLIS the bits of an element depend on its row, its column and
// k alone; by oneDNN the number of primitives that are kept is bounded.
#include "tensor/cpu/products.h"

#include <algorithm>

#include "support/layer_fixture.h"
#include "tensor/ops/elementwise.h"

namespace eyrie::tensor::cpu {
namespace {

using test::Array;
using test::kBothDTypes;

// x as it is, or laid out by columns, with rows `extra` elements further apart than they are long.
Array laid_out(const Array& x, bool transposed, std::int64_t extra) {
  const std::int64_t rows = x->rows(), columns = x->columns();
  Array out(x->dtype(), transposed ? columns : rows, transposed ? rows : columns,
            (transposed ? rows : columns) + extra);
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < columns; ++c)
      transposed ? out.put(c, r, x(r, c)) : out.put(r, c, x(r, c));
  }
  return out;
}

TEST(BlisProduct, AnElementDependsOnItsRowAndItsColumnAlone) {
  constexpr DType in = DType::kFloat32;
  for (const std::int64_t k : {1, 7, 300, 2100}) {
    const std::int64_t m = 150, n = 170;
    const Array a = Array::normal(in, m, k, 1), b = Array::normal(in, k, n, 2);
    Array all(DType::kFloat32, m, n);
    blis_product({a, b, all, {}, {}, k});
    struct Part {
      std::int64_t row, rows, column, columns;
    };
    for (const Part& part : {Part{0, 1, 0, 1},
                             {149, 1, 3, 160},
                             {5, 6, 16, 16},
                             {17, 25, 0, 170},
                             {0, 150, 169, 1},
                             {1, 149, 7, 33}}) {
      for (const int flags : {0, 1, 2, 3}) {
        const MatmulOptions options{.transpose_a = (flags & 1) != 0,
                                    .transpose_b = (flags & 2) != 0};
        Array rows(in, part.rows, k), columns(in, k, part.columns);
        cpu::convert(a->row_range(part.row, part.rows), rows);
        cpu::convert(b->column_range(part.column, part.columns), columns);
        const Array left = laid_out(rows, options.transpose_a, flags * 3);
        const Array right = laid_out(columns, options.transpose_b, flags * 5);
        Array out(DType::kFloat32, part.rows, part.columns, part.columns + flags);
        blis_product({left, right, out, options, {}, k});
        for (std::int64_t r = 0; r < part.rows; ++r) {
          for (std::int64_t c = 0; c < part.columns; ++c) {
            ASSERT_EQ(out(r, c), all(part.row + r, part.column + c))
                << name_of(in) << ", k " << k << ", flags " << flags << ", " << part.rows << "x"
                << part.columns << " at " << r << ", " << c;
          }
        }
      }
    }
  }
}

// A batch that is filled up to its longest sequence: zeros after the end change nothing.
// A batch that is filled up to its longest sequence: zeros after the end change nothing.
TEST(BlisProduct, ZerosAtTheEndOfTheSumsChangeNothing) {
  for (const std::int64_t k : {3, 255, 256, 700, 2048}) {
    const std::int64_t longer = k + 377;
    const Array a = Array::normal(DType::kFloat32, 20, longer, 1);
    const Array b = Array::normal(DType::kFloat32, longer, 40, 2);
    Array padded(DType::kFloat32, 20, longer);
    for (std::int64_t r = 0; r < 20; ++r) {
      for (std::int64_t c = 0; c < longer; ++c) padded.put(r, c, c < k ? a(r, c) : 0);
    }
    Array out(DType::kFloat32, 20, 40), out_padded(DType::kFloat32, 20, 40);
    blis_product({a->column_range(0, k), b->row_range(0, k), out, {}, {}, k});
    blis_product({padded, b, out_padded, {}, {}, longer});
    test::expect_same_bytes(out, out_padded, "k " + std::to_string(k));
  }
}

// Every other row of the batch left out: more than a block of rows, of columns and of sums.
TEST(WidenedProduct, ARowDoesNotDependOnTheOthers) {
  const std::int64_t m = 530, n = 520, k = 2100;
  const Array a = Array::normal(DType::kBFloat16, m, k, 1);
  const Array bias = Array::normal(DType::kFloat32, 1, n, 3);
  for (const bool transposed : {false, true}) {
    const Array b = transposed ? Array::normal(DType::kBFloat16, n, k, 2)
                               : Array::normal(DType::kBFloat16, k, n, 2);
    const MatmulOptions options{.transpose_b = transposed};
    for (const DType type : kBothDTypes) {
      Array all(type, m, n);
      widened_product({a, b, all, options, bias, k});
      for (const std::int64_t rows : {1, 5, 24, 100, 514}) {
        Array some(type, rows, n);
        widened_product({a->row_range(m - rows, rows), b, some, options, bias, k});
        for (std::int64_t r = 0; r < rows; ++r) {
          for (std::int64_t c = 0; c < n; ++c)
            ASSERT_EQ(some(r, c), all(m - rows + r, c)) << rows << " rows: " << r << ", " << c;
        }
      }
    }
  }
}

TEST(OneDnnProduct, KeepsABoundedNumberOfPrimitives) {
  if (!products_by_onednn()) GTEST_SKIP() << "BLIS makes the products on this processor";
  const std::int64_t shapes = static_cast<std::int64_t>(kMostPrimitives) + 40;
  const Array a = Array::normal(DType::kFloat32, 1, shapes, 1);
  const Array b = Array::normal(DType::kFloat32, shapes, 3, 2);
  std::vector<double> first;
  for (int round = 0; round < 2; ++round) {
    for (std::int64_t k = 1; k <= shapes; ++k) {
      Array out(DType::kFloat32, 1, 3);
      onednn_product({a->column_range(0, k), b->row_range(0, k), out, {}, {}, k});
      if (round == 0) {
        first.push_back(out(0, 1));
      } else {
        ASSERT_EQ(out(0, 1), first[static_cast<std::size_t>(k - 1)]) << k;
      }
      ASSERT_LE(onednn_primitives(), kMostPrimitives);
    }
  }
  EXPECT_EQ(onednn_primitives(), kMostPrimitives);
}

}  // namespace
}  // namespace eyrie::tensor::cpu
