// Matrix products against sums in double: sizes, transposes, strides, bias, accumulation.
#include "tensor/ops/matmul.h"

#include <cmath>
#include <limits>

#include "support/layer_fixture.h"
#include "tensor/ops/elementwise.h"

namespace eyrie::tensor {
namespace {

using test::Array;
using test::kBothDTypes;

struct Case {
  std::int64_t m, n, k;
  DType in, out;
  MatmulOptions options = {};
  bool bias = false;
  std::int64_t extra = 0;  // how much further apart the rows lie than they are long
};

struct Operands {
  explicit Operands(const Case& c)
      : a(Array::normal(c.in, c.options.transpose_a ? c.k : c.m, c.options.transpose_a ? c.m : c.k,
                        1, 1, (c.options.transpose_a ? c.m : c.k) + c.extra)),
        b(Array::normal(c.in, c.options.transpose_b ? c.n : c.k, c.options.transpose_b ? c.k : c.n,
                        2, 1, (c.options.transpose_b ? c.k : c.n) + c.extra)),
        bias(Array::normal(DType::kFloat32, 1, c.n, 3)),
        before(Array::normal(c.out, c.m, c.n, 4, 1, c.n + c.extra)) {}
  Array a, b, bias, before;
};

Array run(const Case& c, const Operands& o) {
  Array out = c.options.accumulate ? o.before : Array(c.out, c.m, c.n, c.n + c.extra);
  matmul(o.a, o.b, out, c.options, c.bias ? static_cast<const Tensor&>(o.bias) : Tensor());
  return out;
}

std::string name_of_case(const Case& c) {
  return std::to_string(c.m) + "x" + std::to_string(c.n) + "x" + std::to_string(c.k) + " " +
         name_of(c.in) + " to " + name_of(c.out) + (c.options.transpose_a ? " aT" : "") +
         (c.options.transpose_b ? " bT" : "") + (c.options.accumulate ? " +=" : "") +
         (c.bias ? " bias" : "") + " extra " + std::to_string(c.extra);
}

void check(const Case& c) {
  const Operands o(c);
  const Array out = run(c, o);
  for (std::int64_t i = 0; i < c.m; ++i) {
    for (std::int64_t j = 0; j < c.n; ++j) {
      double sum = c.bias ? o.bias(0, j) : 0, size = std::abs(sum);
      if (c.options.accumulate) {
        sum += o.before(i, j);
        size += std::abs(o.before(i, j));
      }
      for (std::int64_t k = 0; k < c.k; ++k) {
        const double term = (c.options.transpose_a ? o.a(k, i) : o.a(i, k)) *
                            (c.options.transpose_b ? o.b(j, k) : o.b(k, j));
        sum += term;
        size += std::abs(term);
      }
      // Sums in fp32, whatever their order, and one rounding of the result.
      const double tolerance =
          5e-7 * size + (c.out == DType::kBFloat16 ? 1.001 / 256 * std::abs(sum) : 0);
      ASSERT_NEAR(out(i, j), sum, tolerance) << name_of_case(c) << " at " << i << ", " << j;
    }
  }
}

constexpr std::int64_t kSizes[][3] = {{1, 1, 1},    {1, 17, 3},    {3, 1, 17},
                                      {17, 3, 1},   {1, 64, 64},   {16, 16, 16},
                                      {33, 31, 29}, {65, 48, 130}, {37, 96, 33}};

TEST(Matmul, AllSizesTypesAndTransposes) {
  for (const auto& [m, n, k] : kSizes) {
    for (const DType in : kBothDTypes) {
      for (const DType out : {DType::kFloat32, in}) {
        for (const int flags : {0, 1, 2, 3}) {
          check({m, n, k, in, out, {.transpose_a = (flags & 1) != 0, .transpose_b = flags > 1}});
        }
      }
    }
  }
}

TEST(Matmul, StridedRowsBiasAndAccumulation) {
  for (const auto& [m, n, k] : kSizes) {
    for (const DType in : kBothDTypes) {
      for (const int flags : {0, 1, 2, 3}) {
        const MatmulOptions options{.transpose_a = (flags & 1) != 0, .transpose_b = flags > 1};
        MatmulOptions adds = options;
        adds.accumulate = true;
        check({m, n, k, in, DType::kFloat32, options, true, 5});
        check({m, n, k, in, DType::kFloat32, adds, false, 7});
        check({m, n, k, in, in, options, true, 3});
      }
    }
  }
}

TEST(Matmul, ColumnBlocksInsideOfWiderMatrices) {
  for (const DType in : kBothDTypes) {
    const std::int64_t rows = 21, blocks = 3, width = 13;
    const Array x = Array::normal(in, rows, blocks * width, 5);
    const Array w = Array::normal(in, blocks * width, width, 6);
    Array y(DType::kFloat32, rows, blocks * width);
    for (std::int64_t b = 0; b < blocks; ++b) {
      matmul(x->column_range(b * width, width), w->row_range(b * width, width),
             y->column_range(b * width, width));
    }
    std::vector<double> expected;
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t c = 0; c < blocks * width; ++c) {
        const std::int64_t block = c / width;
        double sum = 0;
        for (std::int64_t k = 0; k < width; ++k)
          sum += x(r, block * width + k) * w(block * width + k, c % width);
        expected.push_back(sum);
      }
    }
    test::expect_near(y, expected, 1e-6, "blocks");
  }
}

TEST(Matmul, NothingToDoAndNothingToSum) {
  const Array b = Array::normal(DType::kFloat32, 5, 7, 1);
  Array none(DType::kFloat32, 0, 7), empty_a(DType::kFloat32, 0, 5);
  matmul(empty_a, b, none);
  // No rows to sum over, as the weight gradient of no tokens: zero, or what was there.
  for (const DType in : kBothDTypes) {
    Array a(in, 0, 5), dy(in, 0, 7), out(DType::kFloat32, 5, 7);
    matmul(a, dy, out, {.transpose_a = true});
    test::expect_near(out, std::vector<double>(35, 0.0), 0, "sum of nothing");
    Array kept = b;
    matmul(a, dy, kept, {.transpose_a = true, .accumulate = true});
    test::expect_same_bytes(kept, b, "sum of nothing, added");
    Array with_bias(DType::kFloat32, 3, 7), left(in, 3, 0), right(in, 0, 7);
    const Array bias = Array::normal(DType::kFloat32, 1, 7, 2);
    matmul(left, right, with_bias, {}, bias);
    for (std::int64_t r = 0; r < 3; ++r) EXPECT_EQ(with_bias(r, 6), bias(0, 6));
  }
}

TEST(Matmul, NanAndInfinityStayInTheirRow) {
  for (const DType in : kBothDTypes) {
    for (const double bad :
         {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
      Array a = Array::normal(in, 20, 33, 1), b = Array::normal(in, 33, 18, 2);
      Array out(DType::kFloat32, 20, 18);
      a.put(7, 32, bad);
      matmul(a, b, out);
      for (std::int64_t r = 0; r < 20; ++r) {
        for (std::int64_t c = 0; c < 18; ++c)
          ASSERT_EQ(std::isfinite(out(r, c)), r != 7) << r << ", " << c;
      }
    }
  }
}

TEST(Matmul, SameBitsOnAnyThreads) {
  for (const DType in : kBothDTypes) {
    for (const auto& [m, n, k] : {std::array<std::int64_t, 3>{65, 48, 130},
                                  {17, 200, 64},
                                  {40, 12, 12},
                                  {100, 8, 300},
                                  {257, 96, 64},
                                  {64, 256, 515},
                                  {600, 40, 70},
                                  {70, 130, 16400}}) {
      for (const int flags : {0, 1, 2, 3, 4, 5, 6, 7}) {
        for (const std::int64_t extra : {0, 36}) {
          const bool accumulate = flags > 3;
          const Case c{m,
                       n,
                       k,
                       in,
                       DType::kFloat32,
                       {.transpose_a = (flags & 1) != 0,
                        .transpose_b = (flags & 2) != 0,
                        .accumulate = accumulate},
                       !accumulate,
                       extra};
          SCOPED_TRACE(name_of_case(c));
          const Operands o(c);
          test::expect_same_bits_on_any_threads([&] { return std::vector<Array>{run(c, o)}; });
        }
      }
    }
  }
}

// What evaluation relies on: a row's result does not depend on what else is in the batch.
TEST(Matmul, ARowDoesNotDependOnTheOthers) {
  for (const DType in : kBothDTypes) {
    for (const std::int64_t k : {12, 96, 768}) {
      for (const int flags : {0, 1, 2, 3, 4, 5, 6, 7}) {
        const DType out = (flags & 4) != 0 ? in : DType::kFloat32;
        const Case c{150,  70,
                     k,    in,
                     out,  {.transpose_b = (flags & 1) != 0},
                     true, (flags & 2) != 0 ? 36 : 0};
        const Operands o(c);
        const Array all = run(c, o);
        for (const std::int64_t rows : {1, 2, 3, 5, 8, 16, 17, 24, 33, 64, 100}) {
          Array some(c.out, rows, c.n, c.n + c.extra);
          matmul(o.a->row_range(150 - rows, rows), o.b, some, c.options, o.bias);
          for (std::int64_t r = 0; r < rows; ++r) {
            for (std::int64_t j = 0; j < c.n; ++j) {
              ASSERT_EQ(some(r, j), all(150 - rows + r, j))
                  << name_of_case(c) << ": row " << r << " of " << rows << ", column " << j;
            }
          }
        }
      }
    }
  }
}

// And a score not on how many keys there are.
TEST(Matmul, AColumnOfATransposedProductDoesNotDependOnTheOthers) {
  for (const DType in : kBothDTypes) {
    const Array a = Array::normal(in, 60, 48, 1), b = Array::normal(in, 100, 48, 2);
    Array all(DType::kFloat32, 60, 100);
    matmul(a, b, all, {.transpose_b = true});
    for (std::int64_t columns = 1; columns < 70; ++columns) {
      Array some(DType::kFloat32, 60, columns);
      matmul(a, b->row_range(0, columns), some, {.transpose_b = true});
      for (std::int64_t r = 0; r < 60; ++r) {
        for (std::int64_t c = 0; c < columns; ++c)
          ASSERT_EQ(some(r, c), all(r, c)) << r << ", " << c << " of " << columns;
      }
    }
  }
}

TEST(Matmul, BlockDiagonalLinearIsTheOfficialOne) {
  const test::LayerFixture layer("block_diagonal_linear");
  const Array x = layer.array("in/x"), dy = layer.array("dout/y"), b = layer.row("params/b"),
              w = layer.array("params/w");
  const std::int64_t rows = x->rows(), channels = x->columns(), width = w->columns(),
                     blocks = channels / width;
  Array y(DType::kFloat32, rows, channels), dx(DType::kFloat32, rows, channels);
  Array dw(DType::kFloat32, channels, width), db(DType::kFloat32, 1, channels);
  for (std::int64_t block = 0; block < blocks; ++block) {
    const auto columns = [&](const Array& of) { return of->column_range(block * width, width); };
    const auto weights = [&](const Array& of) { return of->row_range(block * width, width); };
    matmul(columns(x), weights(w), columns(y), {}, columns(b));
    matmul(columns(dy), weights(w), columns(dx), {.transpose_b = true});
    matmul(columns(x), columns(dy), weights(dw), {.transpose_a = true});
  }
  column_sum(dy, db, true);
  test::expect_near(y, layer.values("out/y"), test::kLayerTolerance, "y");
  test::expect_near(dx, layer.values("grads/in/x"), test::kLayerTolerance, "dx");
  test::expect_near(dw, layer.values("grads/params/w"), test::kLayerTolerance, "dw");
  test::expect_near(db, layer.values("grads/params/b"), test::kLayerTolerance, "db");
}

TEST(MatmulDeathTest, ShapesThatDoNotFit) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const Array a = Array::normal(DType::kFloat32, 3, 4, 1);
  const Array b = Array::normal(DType::kFloat32, 5, 2, 1);
  const Array half = Array::normal(DType::kBFloat16, 4, 2, 1);
  Array out(DType::kFloat32, 3, 2), half_out(DType::kBFloat16, 3, 2);
  EXPECT_DEATH(matmul(a, b, out), "matmul: a 3x4 fp32, b 5x2 fp32, out 3x2 fp32");
  EXPECT_DEATH(matmul(a, half, out), "matmul: a 3x4 fp32, b 4x2 bf16, out 3x2 fp32");
  EXPECT_DEATH(matmul(a, b->row_range(0, 4), half_out), "matmul: .*out 3x2 bf16");
  EXPECT_DEATH(matmul(half->row_range(0, 3), half->row_range(0, 2), half_out, {.accumulate = true}),
               "matmul");
  EXPECT_DEATH(matmul(a, b->row_range(0, 4), out, {}, b->row_range(0, 2)), "matmul");
}

TEST(MatmulPeak, IsAPositiveRate) {
  for (const DType dtype : kBothDTypes) EXPECT_GT(measure_matmul_peak(dtype, 64, 2), 1e6);
}

}  // namespace
}  // namespace eyrie::tensor
