// Means and standard errors; reference values are from NumPy and CPython.
#include "eval/statistics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace eyrie::eval {
namespace {

using Values = std::vector<double>;

TEST(Statistics, TheFirstOfEqualsWins) {
  EXPECT_EQ(first_largest(Values{-3, -1, -1, -2}), 1u);
  EXPECT_EQ(first_largest(Values{-1}), 0u);
  EXPECT_EQ(first_largest(Values{-2, -2}), 0u);
  EXPECT_EQ(first_largest(Values{-INFINITY, -5}), 1u);
}

TEST(Statistics, TheErrorOfAShareIsTheKnownFormula) {
  Values values(200, 0.0);
  for (int i = 0; i < 37; ++i) values[i] = 1;
  EXPECT_DOUBLE_EQ(mean(values), 0.185);
  EXPECT_NEAR(*mean_error(values), std::sqrt(0.185 * 0.815 / 199), 1e-15);
}

TEST(Statistics, OneValueHasNoError) {
  EXPECT_FALSE(mean_error(Values{1}).has_value());
  EXPECT_FALSE(perplexity_error(Values{-1}).has_value());
  EXPECT_EQ(*mean_error(Values{1, 1}), 0.0);
}

TEST(Statistics, PerplexityAndItsBootstrap) {
  const Values values = {-1.5, -0.25, -7, -3, -2.125};
  EXPECT_NEAR(perplexity(values), std::exp(13.875 / 5), 1e-12);
  EXPECT_NEAR(*perplexity_error(values, 2000), 53.4079749955203, 1e-9);  // two chunks
  EXPECT_NEAR(*perplexity_error(values, 500), 41.01511389007113, 1e-9);
}

TEST(Statistics, GroupsCountEveryDocument) {
  const std::vector<Part> parts = {{10, 0.5, 0.1}, {30, 0.25, 0.02}};
  EXPECT_DOUBLE_EQ(pooled_mean(parts), (5 + 7.5) / 40);
  EXPECT_NEAR(*pooled_error(parts), std::sqrt((9 * 0.01 * 10 + 29 * 0.0004 * 30) / 38 / 40), 1e-15);
  EXPECT_NEAR(*pooled_error(std::vector<Part>{{25, 0.4, 0.3}}), 0.3, 1e-15);  // one part is itself
  EXPECT_FALSE(pooled_error(std::vector<Part>{{10, 0.5, 0.1}, {1, 1, {}}}).has_value());
}

}  // namespace
}  // namespace eyrie::eval
