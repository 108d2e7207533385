#include "data_pipeline/mixture.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "base/error.h"
#include "support/scratch_folder.h"

namespace eyrie::data_pipeline {
namespace {

TEST(Mixture, StaysWithinOneRowOfEveryWeight) {
  for (const std::vector<double>& weights : {std::vector<double>{0.6, 0.2, 0.2},
                                             {1},
                                             {0, 3, 0},
                                             {1, 1, 1},
                                             {0.61803, 0.2, 0.18197},
                                             {7, 11, 13, 0.5}}) {
    const Mixture mixture(weights);
    const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
    std::vector<std::int64_t> given(weights.size(), 0);
    for (std::int64_t n = 0; n < 5000; ++n) {
      const Mixture::Place place = mixture.row(n);
      ASSERT_EQ(place.index, given[place.source]) << n;
      ++given[place.source];
      for (std::size_t s = 0; s < weights.size(); ++s)
        ASSERT_LE(std::abs(given[s] - (n + 1) * weights[s] / sum), 1.01)
            << "row " << n << " source " << s;
    }
    for (std::size_t s = 0; s < weights.size(); ++s) EXPECT_EQ(mixture.given(s, 5000), given[s]);
  }
}

TEST(Mixture, ExactOverAPeriodAndFarAway) {
  const Mixture mixture({0.6, 0.2, 0.2});
  EXPECT_EQ(mixture.period(), 5);
  std::vector<std::size_t> rows;
  for (int n = 0; n < 10; ++n) rows.push_back(mixture.row(n).source);
  EXPECT_EQ(rows, (std::vector<std::size_t>{0, 1, 0, 2, 0, 0, 1, 0, 2, 0}));
  const std::int64_t far = std::int64_t{5} << 50;
  EXPECT_EQ(mixture.row(far).source, 0u);
  EXPECT_EQ(mixture.row(far).index, std::int64_t{3} << 50);
  EXPECT_EQ(mixture.row(far + 1).index, std::int64_t{1} << 50);
}

TEST(Mixture, RefusesWhatIsNoMixture) {
  const auto message = [](std::vector<double> weights) {
    return test::message_of<base::InputError>([&] { Mixture mixture(weights); });
  };
  EXPECT_THAT(message({}), testing::HasSubstr("no source has a weight above 0"));
  EXPECT_THAT(message({0, 0}), testing::HasSubstr("no source has a weight above 0"));
  EXPECT_THAT(message({1, -0.5}), testing::HasSubstr("-0.5"));
  EXPECT_THAT(message({1, NAN}), testing::HasSubstr("nan"));
  EXPECT_THAT(message({1, 1e-9}), testing::HasSubstr("1e-09"));
}

}  // namespace
}  // namespace eyrie::data_pipeline
