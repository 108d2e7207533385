// Sampling: each cut keeps what it says, draws follow the chances, and nothing but the arguments
// decides.
#include "generation/sampling.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <numeric>

#include "base/error.h"

namespace eyrie::generation {
namespace {

// How often each token is drawn.
std::map<std::int32_t, double> shares(const std::vector<float>& logits,
                                      const SamplingOptions& options, int draws = 20000) {
  const base::Philox random(options.seed, "test");
  std::map<std::int32_t, double> counts;
  for (int i = 0; i < draws; ++i)
    counts[sample(logits, options, random, static_cast<std::uint64_t>(i))] += 1.0 / draws;
  return counts;
}

std::vector<float> logits_of(const std::vector<double>& chances) {
  std::vector<float> logits;
  for (const double chance : chances) logits.push_back(static_cast<float>(std::log(chance)));
  return logits;
}

void expect_shares(const std::map<std::int32_t, double>& got,
                   const std::map<std::int32_t, double>& expected) {
  EXPECT_EQ(got.size(), expected.size());
  for (const auto& [token, share] : expected) {
    ASSERT_TRUE(got.contains(token)) << token;
    EXPECT_NEAR(got.at(token), share, 4 * std::sqrt(share / 20000)) << token;
  }
}

const std::vector<double> kChances = {0.1, 0.4, 0.05, 0.3, 0.15};

TEST(Sampling, DrawsFollowTheChances) {
  expect_shares(shares(logits_of(kChances), {}),
                {{0, 0.1}, {1, 0.4}, {2, 0.05}, {3, 0.3}, {4, 0.15}});
}

TEST(Sampling, TemperatureIsAPowerOfTheChances) {
  double total = 0;
  for (const double chance : kChances) total += chance * chance;
  std::map<std::int32_t, double> expected;
  for (std::size_t i = 0; i < kChances.size(); ++i)
    expected[static_cast<std::int32_t>(i)] = kChances[i] * kChances[i] / total;
  expect_shares(shares(logits_of(kChances), {.temperature = 0.5}), expected);
  EXPECT_EQ(shares(logits_of(kChances), {.temperature = 0}, 1),
            (std::map<std::int32_t, double>{{1, 1.0}}));
}

TEST(Sampling, CutsKeepTheMostProbable) {
  const auto logits = logits_of(kChances);
  expect_shares(shares(logits, {.top_k = 2}), {{1, 4.0 / 7}, {3, 3.0 / 7}});
  expect_shares(shares(logits, {.top_k = 1}), {{1, 1}});
  expect_shares(shares(logits, {.top_k = 99}),
                {{0, 0.1}, {1, 0.4}, {2, 0.05}, {3, 0.3}, {4, 0.15}});
  // 0.4 + 0.3 reach 0.69, and 0.71 only with the next.
  expect_shares(shares(logits, {.top_p = 0.69}), {{1, 4.0 / 7}, {3, 3.0 / 7}});
  expect_shares(shares(logits, {.top_p = 0.71}), {{1, 8.0 / 17}, {3, 6.0 / 17}, {4, 3.0 / 17}});
  expect_shares(shares(logits, {.top_p = 1e-9}), {{1, 1}});
  // A third of the most probable is 0.133.
  expect_shares(shares(logits, {.min_p = 1.0 / 3}), {{1, 8.0 / 17}, {3, 6.0 / 17}, {4, 3.0 / 17}});
  expect_shares(shares(logits, {.min_p = 1}), {{1, 1}});
  // Top-p counts what top-k left: 0.4 of 0.7 is not 0.6, both are.
  expect_shares(shares(logits, {.top_k = 2, .top_p = 0.6}), {{1, 4.0 / 7}, {3, 3.0 / 7}});
  expect_shares(shares(logits, {.top_k = 2, .top_p = 0.55}), {{1, 1}});
}

// Cuts far into a large vocabulary are those of sorting all of it.
TEST(Sampling, CutsOfALargeVocabularyAreThoseOfSortingIt) {
  const base::Philox random(3, "logits");
  std::vector<float> logits;
  for (int i = 0; i < 9001; ++i)
    logits.push_back(static_cast<float>(random.normal(static_cast<std::uint64_t>(i))));
  std::vector<std::int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
    return logits[static_cast<std::size_t>(a)] > logits[static_cast<std::size_t>(b)];
  });
  double total = 0;
  for (const float logit : logits) total += std::exp(static_cast<double>(logit));
  for (const double top_p : {0.01, 0.3, 0.9, 0.999}) {
    double reached = 0;
    std::size_t kept = 0;
    while (reached < top_p * total)
      reached += std::exp(static_cast<double>(logits[static_cast<std::size_t>(order[kept++])]));
    const base::Philox draws(9, "draws");
    for (std::uint64_t i = 0; i < 200; ++i) {
      double left = draws.uniform(i) * reached;
      std::size_t at = 0;
      while (at + 1 < kept &&
             (left -= std::exp(static_cast<double>(logits[static_cast<std::size_t>(order[at])]))) >=
                 0)
        ++at;
      const std::int32_t got = sample(logits, {.top_p = top_p}, draws, i);
      // A draw within rounding of a border may fall to its neighbour.
      if (got != order[at]) {
        EXPECT_LT(std::abs(left), 1e-6 * total) << top_p << " " << i;
      }
    }
  }
}

TEST(Sampling, TiesGoToTheLowestId) {
  const std::vector<float> flat(7, 1.5f);
  EXPECT_EQ(shares(flat, {.temperature = 0}, 1), (std::map<std::int32_t, double>{{0, 1.0}}));
  const auto two = shares(flat, {.top_k = 2}, 100);
  for (const auto& [token, share] : two) EXPECT_LT(token, 2);
}

TEST(Sampling, ThePenaltyIsOfTokensThatWereThere) {
  TokenSet seen(130);
  seen.add(1);
  seen.add(129);
  std::vector<float> logits(130, 2.0f);
  logits[129] = -3.0f;
  seen.penalise(logits, 1.5);
  EXPECT_FLOAT_EQ(logits[0], 2.0f);
  EXPECT_FLOAT_EQ(logits[1], 2.0f / 1.5f);
  EXPECT_FLOAT_EQ(logits[129], -4.5f);
}

TEST(Sampling, WrongOptionsAreNamed) {
  const auto message = [](const SamplingOptions& options) -> std::string {
    try {
      check(options);
    } catch (const base::InputError& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(message({}), "");
  EXPECT_NE(message({.temperature = -1}).find("--temperature"), std::string::npos);
  EXPECT_NE(message({.temperature = std::nan("")}).find("--temperature"), std::string::npos);
  EXPECT_NE(message({.top_k = -1}).find("--top-k"), std::string::npos);
  EXPECT_NE(message({.top_p = 0}).find("--top-p"), std::string::npos);
  EXPECT_NE(message({.top_p = 1.1}).find("--top-p"), std::string::npos);
  EXPECT_NE(message({.min_p = -0.1}).find("--min-p"), std::string::npos);
  EXPECT_NE(message({.repetition_penalty = 0}).find("--repetition-penalty"), std::string::npos);
}

}  // namespace
}  // namespace eyrie::generation
