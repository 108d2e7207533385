// Cross-entropy with soft cap against double; its gradient; the logits' scores.
#include "tensor/ops/cross_entropy.h"

#include <cmath>
#include <limits>

#include "support/arrays.h"
#include "support/gradient_check.h"
#include "tensor/ops/elementwise.h"

namespace eyrie::tensor {
namespace {

using test::Array;
using test::expect_near;
using test::kBothDTypes;

double capped(double x, double cap) { return cap > 0 ? cap * std::tanh(x / cap) : x; }

double log_sum(const std::vector<double>& row, double cap) {
  double most = -1e300, sum = 0;
  for (const double x : row) most = std::max(most, capped(x, cap));
  for (const double x : row) sum += std::exp(capped(x, cap) - most);
  return most + std::log(sum);
}

std::vector<double> row_of(const Array& x, std::int64_t r) {
  std::vector<double> row;
  for (std::int64_t c = 0; c < x->columns(); ++c) row.push_back(x(r, c));
  return row;
}

struct Case {
  std::int64_t rows, vocabulary;
  std::vector<std::int32_t> targets;
  std::vector<float> weight;
};

const std::vector<Case>& cases() {
  static const std::vector<Case> all = {
      {1, 1, {0}, {1}},
      {3, 17, {16, 0, 5}, {1, 0, 1}},
      {2, 64, {63, 1}, {0.5f, 2}},
      {5, 515, {514, 0, 100, 511, 512}, {1, 1, 0, 0, 1}},
      {0, 9, {}, {}},
      {2, 33, {0, 32}, {0, 0}},
  };
  return all;
}

class CrossEntropy : public testing::TestWithParam<float> {};

TEST_P(CrossEntropy, LossAndGradientAgainstDouble) {
  const float cap = GetParam(), gradient_scale = 0.25f;
  for (const Case& s : cases()) {
    const Array logits = Array::normal(DType::kFloat32, s.rows, s.vocabulary, 1, 12);
    const Array targets = Array::ints(s.targets),
                weight = Array::of(DType::kFloat32, 1, s.rows, s.weight);
    std::vector<double> expected_nll, expected_gradient;
    for (std::int64_t r = 0; r < s.rows; ++r) {
      const auto t = static_cast<std::size_t>(s.targets[static_cast<std::size_t>(r)]);
      const double w = weight(0, r);
      const auto nll = [&](const std::vector<double>& row) {
        return log_sum(row, cap) - capped(row[t], cap);
      };
      const std::vector<double> row = row_of(logits, r);
      expected_nll.push_back(w != 0 ? nll(row) : 0);
      for (const double slope : test::numeric_gradient(nll, row))
        expected_gradient.push_back(w * gradient_scale * slope);
    }
    {
      Array work = logits, nll(DType::kFloat32, 1, s.rows);
      cross_entropy(work, targets, weight, cap, nll, {}, 1);
      expect_near(nll, expected_nll, 1e-6, "nll alone", 1);
    }
    for (const DType dtype : kBothDTypes) {
      Array work = logits, nll(DType::kFloat32, 1, s.rows), d(dtype, s.rows, s.vocabulary);
      cross_entropy(work, targets, weight, cap, nll, d, gradient_scale);
      expect_near(nll, expected_nll, 1e-6, "nll", 1);
      expect_near(d, expected_gradient, 2e-6, "dlogits", 1);
    }
    for (const DType dtype : kBothDTypes) {
      Array in_place = logits, nll(DType::kFloat32, 1, s.rows), d(dtype, s.rows, s.vocabulary);
      const std::int64_t stride = s.vocabulary * size_of(DType::kFloat32) / size_of(dtype);
      const Tensor narrow(static_cast<Tensor>(in_place).data(), dtype, s.rows, s.vocabulary,
                          stride);
      cross_entropy(in_place, targets, weight, cap, nll, narrow, gradient_scale);
      copy(narrow, d);
      expect_near(nll, expected_nll, 1e-6, "nll, gradient in place", 1);
      expect_near(d, expected_gradient, 2e-6, "dlogits in place", 1);
    }
  }
}

TEST_P(CrossEntropy, ScoresOfLogits) {
  const float cap = GetParam();
  for (const Case& s : cases()) {
    const Array logits = Array::normal(DType::kFloat32, s.rows, s.vocabulary, 1, 12);
    Array work = logits, sums(DType::kFloat32, 1, s.rows), argmax(DType::kInt32, 1, s.rows);
    score_logits(work, cap, sums, argmax);
    std::vector<double> expected_sums, expected_logits;
    for (std::int64_t r = 0; r < s.rows; ++r) {
      const std::vector<double> row = row_of(logits, r);
      expected_sums.push_back(log_sum(row, cap));
      for (const double x : row) expected_logits.push_back(capped(x, cap));
      const auto best = std::max_element(row.begin(), row.end()) - row.begin();
      EXPECT_EQ(argmax(0, r), static_cast<double>(best));
    }
    expect_near(work, expected_logits, 5e-7, "capped");
    expect_near(sums, expected_sums, 1e-6, "log_sum");
  }
}

INSTANTIATE_TEST_SUITE_P(Caps, CrossEntropy, testing::Values(0.0f, 30.0f, 4.0f));

TEST(CrossEntropyEdges, TiesGoToTheLowestId) {
  for (const std::int64_t first : {0, 3, 15, 16, 40}) {
    Array logits = Array::normal(DType::kFloat32, 1, 50, 1), sums(DType::kFloat32, 1, 1),
          argmax(DType::kInt32, 1, 1);
    for (const std::int64_t c : {first, std::int64_t{45}, std::int64_t{49}}) logits.put(0, c, 9);
    score_logits(logits, 0, sums, argmax);
    EXPECT_EQ(argmax(0, 0), static_cast<double>(first));
  }
}

TEST(CrossEntropyEdges, LargeLogitsDoNotOverflow) {
  for (const double shift : {-1e4, 1e4}) {
    Array logits = Array::normal(DType::kFloat32, 2, 40, 1);
    for (std::int64_t c = 0; c < 40; ++c) {
      logits.put(0, c, std::round(logits(0, c) * 4) + shift);
      logits.put(1, c, c == 7 ? shift + 500 : shift);
    }
    const double expected = log_sum(row_of(logits, 0), 0) - logits(0, 3);
    Array nll(DType::kFloat32, 1, 2), d(DType::kFloat32, 2, 40);
    cross_entropy(logits, Array::ints({3, 7}), Array::of<float>(DType::kFloat32, 1, 2, {1, 1}), 0,
                  nll, d, 1);
    EXPECT_NEAR(nll(0, 0), expected, 2e-3);  // differences of numbers of 1e4 in fp32
    EXPECT_EQ(nll(0, 1), 0);
    for (std::int64_t c = 0; c < 40; ++c) EXPECT_EQ(d(1, c), 0);
  }
}

TEST(CrossEntropyEdges, NanAndInfinityComeOut) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const float cap : {0.0f, 30.0f}) {
    for (const std::int64_t bad : {0, 20, 36}) {
      for (const DType dtype : kBothDTypes) {
        Array logits = Array::normal(DType::kFloat32, 3, 37, 1), d(dtype, 3, 37),
              nll(DType::kFloat32, 1, 3), sums(DType::kFloat32, 1, 3), argmax(DType::kInt32, 1, 3);
        logits.put(1, bad, nan);
        Array again = logits;
        cross_entropy(logits, Array::ints({1, 2, 3}),
                      Array::of<float>(DType::kFloat32, 1, 3, {1, 1, 1}), cap, nll, d, 1);
        score_logits(again, cap, sums, argmax);
        for (std::int64_t r = 0; r < 3; ++r) {
          EXPECT_EQ(std::isnan(nll(0, r)), r == 1) << bad;
          EXPECT_EQ(std::isnan(sums(0, r)), r == 1) << bad;
          for (std::int64_t c = 0; c < 37; ++c) EXPECT_EQ(std::isnan(d(r, c)), r == 1);
        }
      }
    }
  }
  Array logits = Array::normal(DType::kFloat32, 1, 37, 1), nll(DType::kFloat32, 1, 1);
  logits.put(0, 5, std::numeric_limits<double>::infinity());
  cross_entropy(logits, Array::ints({1}), Array::of<float>(DType::kFloat32, 1, 1, {1}), 0, nll, {},
                1);
  EXPECT_FALSE(std::isfinite(nll(0, 0)));
}

TEST(CrossEntropyEdges, SameBitsOnAnyThreads) {
  for (const DType dtype : kBothDTypes) {
    const Array logits = Array::normal(DType::kFloat32, 31, 203, 1, 5),
                weight = Array::normal(DType::kFloat32, 1, 31, 2);
    std::vector<std::int32_t> targets;
    for (std::int32_t r = 0; r < 31; ++r) targets.push_back(r * 37 % 203);
    test::expect_same_bits_on_any_threads([&] {
      Array work = logits, again = logits, nll(DType::kFloat32, 1, 31), d(dtype, 31, 203),
            sums(DType::kFloat32, 1, 31), argmax(DType::kInt32, 1, 31);
      cross_entropy(work, Array::ints(targets), weight, 30, nll, d, 0.5f);
      score_logits(again, 30, sums, argmax);
      return std::vector<Array>{nll, d, again, sums, argmax};
    });
  }
}

// The second line: whoever reads tokens has refused these already.
TEST(CrossEntropy, ATargetWithoutALogitIsNotLookedUp) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");  // the threads of a product survive no fork
  std::vector<float> logits(2 * 5, 0.5f), weights = {1, 1}, nll(2);
  for (const std::int32_t target : {5, 65535, -1}) {
    std::vector<std::int32_t> targets = {0, target};
    EXPECT_DEATH(
        cross_entropy({logits.data(), DType::kFloat32, 2, 5}, {targets.data(), DType::kInt32, 1, 2},
                      {weights.data(), DType::kFloat32, 1, 2}, 0,
                      {nll.data(), DType::kFloat32, 1, 2}, {}, 1),
        "a target that has no logit");
  }
}

}  // namespace
}  // namespace eyrie::tensor
