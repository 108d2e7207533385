// Products of few rows against double sums, odd sizes and both layouts; the same bits whatever the
// other rows and the threads. Attention of single tokens against a plain softmax over the ring.
#include "tensor/ops/few_rows.h"

#include <gtest/gtest.h>

#include <cmath>

#include "support/arrays.h"

namespace eyrie::tensor {
namespace {

using test::Array;

// out and the expected values of x · w + bias in double.
void check_product(std::int64_t m, std::int64_t k, std::int64_t n, bool transposed, bool bias,
                   DType x_type, DType w_type, DType out_type) {
  SCOPED_TRACE(testing::Message() << m << "x" << k << "x" << n << (transposed ? " transposed" : "")
                                  << (bias ? " bias " : " ") << name_of(x_type) << " "
                                  << name_of(w_type) << " " << name_of(out_type));
  const Array x = Array::normal(x_type, m, k, 1);
  const Array w = transposed ? Array::normal(w_type, n, k, 2) : Array::normal(w_type, k, n, 2);
  const Array b = Array::normal(DType::kFloat32, 1, n, 3);
  Array out(out_type, m, n);
  const FewRowsProduct product{x, w, transposed, bias ? Tensor(b) : Tensor(), out};
  few_rows({&product, 1});
  const double rounding = out_type == DType::kFloat32 ? 1e-6 : 4e-3;
  for (std::int64_t r = 0; r < m; ++r) {
    for (std::int64_t c = 0; c < n; ++c) {
      double total = bias ? b(0, c) : 0, size = std::abs(total);
      for (std::int64_t i = 0; i < k; ++i) {
        const double term = x(r, i) * (transposed ? w(c, i) : w(i, c));
        total += term;
        size += std::abs(term);
      }
      ASSERT_NEAR(out(r, c), total, rounding * (size + 1e-6)) << r << " " << c;
    }
  }
}

TEST(FewRows, IsTheProductAtOddSizes) {
  for (const bool transposed : {false, true}) {
    for (const std::int64_t m : {1, 2, 3, 5, 7, 8, 9, 17}) {
      for (const auto& [k, n] : {std::pair{1, 1}, {16, 32}, {7, 130}, {65, 33}, {128, 64}}) {
        for (const DType dtype : test::kBothDTypes) {
          check_product(m, k, n, transposed, m % 2 == 0, dtype, dtype, DType::kFloat32);
          check_product(m, k, n, transposed, m % 2 == 1, dtype, dtype, dtype);
        }
        check_product(m, k, n, transposed, true, DType::kFloat32, DType::kBFloat16,
                      DType::kFloat32);
      }
    }
  }
}

TEST(FewRows, NothingToSumIsTheBias) {
  check_product(3, 0, 5, false, true, DType::kFloat32, DType::kFloat32, DType::kFloat32);
}

// A sequence must be continued alike alone and in any company.
TEST(FewRows, ARowHasTheSameBitsInAnyCompanyAndOnAnyThreads) {
  for (const DType dtype : test::kBothDTypes) {
    for (const bool transposed : {false, true}) {
      const std::int64_t k = 75, n = 333;
      const Array all = Array::normal(dtype, 19, k, 1);
      const Array w = transposed ? Array::normal(dtype, n, k, 2) : Array::normal(dtype, k, n, 2);
      Array together(dtype, 19, n);
      const FewRowsProduct whole{all, w, transposed, {}, together};
      few_rows({&whole, 1});
      for (const std::int64_t rows : {1, 2, 3, 4, 5, 6, 7, 8, 11}) {
        Array part(dtype, rows, n);
        const FewRowsProduct some{Tensor(all).row_range(4, rows), w, transposed, {}, part};
        few_rows({&some, 1});
        for (std::int64_t r = 0; r < rows; ++r)
          for (std::int64_t c = 0; c < n; ++c)
            ASSERT_EQ(part(r, c), together(4 + r, c)) << rows << " " << r << " " << c;
      }
      test::expect_same_bits_on_any_threads([&] {
        Array again(dtype, 19, n);
        const FewRowsProduct product{all, w, transposed, {}, again};
        few_rows({&product, 1});
        return std::vector<Array>{again};
      });
    }
  }
}

// Products with different inputs of different widths, side by side, as the gates' blocks are.
TEST(FewRows, SeveralAtOnceAreEachAlone) {
  for (const DType dtype : test::kBothDTypes) {
    const std::int64_t m = 3, block = 24, blocks = 5;
    const Array x = Array::normal(dtype, m, block * blocks, 1),
                w = Array::normal(dtype, block * blocks, block, 2),
                wide = Array::normal(dtype, 40, block * blocks, 3);
    Array together(DType::kFloat32, m, block * blocks + 40),
        alone(DType::kFloat32, m, block * blocks + 40);
    std::vector<FewRowsProduct> products;
    const auto list = [&](const Tensor& out) {
      products.clear();
      for (std::int64_t b = 0; b < blocks; ++b) {
        products.push_back({Tensor(x).column_range(b * block, block),
                            Tensor(w).row_range(b * block, block),
                            false,
                            {},
                            out.column_range(b * block, block)});
      }
      products.push_back({x, wide, true, {}, out.column_range(block * blocks, 40)});
    };
    list(alone);
    for (const FewRowsProduct& product : products) few_rows({&product, 1});
    list(together);
    few_rows(products);
    for (std::int64_t r = 0; r < m; ++r)
      for (std::int64_t c = 0; c < block * blocks + 40; ++c)
        ASSERT_EQ(together(r, c), alone(r, c)) << r << " " << c;
  }
}

// Rings at every turn, sequences of different length, heads in groups.
TEST(AttentionStep, IsSoftmaxOverTheRing) {
  const std::int64_t heads = 5, dim = 12, slots = 7;
  for (const DType dtype : test::kBothDTypes) {
    for (const std::int64_t newest : {0, 3, 6, 7, 11, 13}) {
      const std::int64_t sequences = 3;
      const Array q = Array::normal(dtype, sequences, heads * dim, 1),
                  keys = Array::normal(dtype, sequences * slots, dim, 2),
                  values = Array::normal(dtype, sequences * slots, dim, 3);
      Array out(dtype, sequences, heads * dim);
      std::vector<KeyRing> rings;
      std::vector<std::int64_t> seen;
      for (std::int64_t s = 0; s < sequences; ++s) {
        seen.push_back(std::max<std::int64_t>(0, std::min(newest, slots - 1) - s));
        rings.push_back({Tensor(keys).row_range(s * slots, slots),
                         Tensor(values).row_range(s * slots, slots), newest, seen.back()});
      }
      attention_step(q, rings, heads, out);
      for (std::int64_t s = 0; s < sequences; ++s) {
        for (std::int64_t h = 0; h < heads; ++h) {
          std::vector<double> chance;
          double total = 0;
          for (std::int64_t i = newest - seen[static_cast<std::size_t>(s)]; i <= newest; ++i) {
            double dot = 0;
            for (std::int64_t d = 0; d < dim; ++d)
              dot += q(s, h * dim + d) * keys(s * slots + i % slots, d);
            chance.push_back(std::exp(dot / std::sqrt(static_cast<double>(dim))));
            total += chance.back();
          }
          for (std::int64_t d = 0; d < dim; ++d) {
            double expected = 0;
            for (std::size_t i = 0; i < chance.size(); ++i) {
              const std::int64_t token =
                  newest - seen[static_cast<std::size_t>(s)] + static_cast<std::int64_t>(i);
              expected += chance[i] / total * values(s * slots + token % slots, d);
            }
            ASSERT_NEAR(out(s, h * dim + d), expected, dtype == DType::kFloat32 ? 2e-6 : 8e-3)
                << newest << " " << s << " " << h << " " << d;
          }
        }
      }
      test::expect_same_bits_on_any_threads([&] {
        Array again(dtype, sequences, heads * dim);
        attention_step(q, rings, heads, again);
        return std::vector<Array>{again};
      });
    }
  }
}

}  // namespace
}  // namespace eyrie::tensor
