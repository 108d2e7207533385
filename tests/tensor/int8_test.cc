// Weights in int8: how far rounding goes, products of few and of many rows against double sums, the
// embedding; the same bits whatever the other rows and the threads.
#include "tensor/ops/int8.h"

#include <gtest/gtest.h>

#include <cmath>

#include "support/arrays.h"
#include "tensor/ops/embedding.h"
#include "tensor/ops/few_rows.h"

namespace eyrie::tensor {
namespace {

using test::Array;

struct Quantized {
  Quantized(std::int64_t rows, std::int64_t columns, std::int64_t block_size)
      : w(Array::normal(DType::kFloat32, rows, columns, 2)),
        q(DType::kInt8, rows, columns),
        scales(DType::kFloat32, rows, int8_scales(columns, block_size)),
        block(block_size) {
    quantize(w, block, q, scales);
  }
  double value(std::int64_t r, std::int64_t c) const {
    return q->as<std::int8_t>()[r * q->stride() + c] * scales(r, c / block);
  }
  Array w, q, scales;
  std::int64_t block;
};

constexpr std::int64_t kShapes[][3] = {{1, 1, 1},   {3, 17, 17},   {33, 130, 128},
                                       {5, 64, 16}, {300, 96, 96}, {40, 257, 64}};

TEST(Int8, RoundsToTheNearestStep) {
  for (const auto& [n, k, block] : kShapes) {
    const Quantized weights(n, k, block);
    Array back(DType::kFloat32, n, k), narrow(DType::kBFloat16, n, k);
    dequantize(weights.q, weights.scales, block, back);
    dequantize(weights.q, weights.scales, block, narrow);
    for (std::int64_t r = 0; r < n; ++r) {
      for (std::int64_t c = 0; c < k; ++c) {
        const double step = weights.scales(r, c / block);
        ASSERT_LE(std::abs(back(r, c) - weights.w(r, c)), 0.5001 * step) << r << " " << c;
        ASSERT_NEAR(back(r, c), weights.value(r, c), 3e-7);
        ASSERT_NEAR(narrow(r, c), back(r, c), std::abs(back(r, c)) / 256);
      }
    }
  }
}

TEST(Int8, ZerosStayZeros) {
  Array w = Array::zeros(DType::kFloat32, 2, 40), q(DType::kInt8, 2, 40),
        scales(DType::kFloat32, 2, 2);
  w.put(1, 39, -3);
  quantize(w, 20, q, scales);
  EXPECT_EQ(scales(0, 0), 0);
  EXPECT_NEAR(scales(1, 1), 3.0 / 127, 1e-8);
  Array back(DType::kFloat32, 2, 40);
  dequantize(q, scales, 20, back);
  EXPECT_EQ(back(0, 7), 0);
  EXPECT_NEAR(back(1, 39), -3, 1e-6);
}

void check(const Array& out, const Array& x, const Quantized& weights, const Array& bias,
           double weight_rounding) {
  for (std::int64_t r = 0; r < x->rows(); ++r) {
    for (std::int64_t n = 0; n < weights.q->rows(); ++n) {
      double total = bias(0, n), size = std::abs(total);
      for (std::int64_t c = 0; c < x->columns(); ++c) {
        const double term = x(r, c) * weights.value(n, c);
        total += term;
        size += std::abs(term);
      }
      ASSERT_NEAR(out(r, n), total, (weight_rounding + 2e-6) * size) << r << " " << n;
    }
  }
}

TEST(Int8, ProductsOfFewAndOfManyRows) {
  for (const auto& [n, k, block] : kShapes) {
    const Quantized weights(n, k, block);
    const Array bias = Array::normal(DType::kFloat32, 1, n, 4);
    for (const DType dtype : test::kBothDTypes) {
      for (const std::int64_t rows : {1, 2, 5, 8, 9, 30}) {
        SCOPED_TRACE(testing::Message() << rows << "x" << k << "x" << n << " " << name_of(dtype));
        const Array x = Array::normal(dtype, rows, k, 1);
        Array few(DType::kFloat32, rows, n), many(DType::kFloat32, rows, n);
        const FewRowsProduct product{x, weights.q, true, bias, few, weights.scales, block};
        few_rows({&product, 1});
        check(few, x, weights, bias, 0);
        matmul_int8(x, weights.q, weights.scales, block, many, bias);
        // In bf16 the weights are rounded once more.
        check(many, x, weights, bias, dtype == DType::kFloat32 ? 0 : 1.0 / 256);
      }
    }
  }
}

TEST(Int8, ARowDoesNotDependOnTheOthersOrTheThreads) {
  const Quantized weights(300, 130, 64);
  for (const DType dtype : test::kBothDTypes) {
    const Array x = Array::normal(dtype, 40, 130, 1);
    const auto products = [&](std::int64_t rows) {
      Array few(DType::kFloat32, rows, 300), many(DType::kFloat32, rows, 300);
      const Tensor some = x->row_range(0, rows);
      const FewRowsProduct product{some, weights.q, true, {}, few, weights.scales, 64};
      few_rows({&product, 1});
      matmul_int8(some, weights.q, weights.scales, 64, many);
      return std::vector<Array>{few, many};
    };
    test::expect_same_bits_on_any_threads([&] { return products(40); });
    const std::vector<Array> all = products(40);
    for (const std::int64_t rows : {1, 3, 8, 9, 24, 25}) {
      const std::vector<Array> some = products(rows);
      for (std::size_t i = 0; i < all.size(); ++i)
        for (std::int64_t r = 0; r < rows; ++r)
          for (std::int64_t n = 0; n < 300; ++n)
            ASSERT_EQ(some[i](r, n), all[i](r, n))
                << i << ": " << rows << " rows, " << r << " " << n;
    }
  }
}

TEST(Int8, EmbeddingIsLookedUp) {
  const Quantized table(50, 130, 64);
  const Array tokens = Array::ints({49, 0, 7, 7});
  Array out(DType::kFloat32, 4, 130);
  embed_int8(table.q, table.scales, 64, tokens, 3, out);
  for (std::int64_t t = 0; t < 4; ++t) {
    for (std::int64_t c = 0; c < 130; ++c)
      ASSERT_NEAR(out(t, c), 3 * table.value(static_cast<std::int64_t>(tokens(0, t)), c), 1e-5);
  }
}

}  // namespace
}  // namespace eyrie::tensor
