// Means over documents and their standard errors, as lm-evaluation-harness reports them.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

namespace eyrie::eval {

// The first of the largest. `values` is not empty.
std::size_t first_largest(std::span<const double> values);

double mean(std::span<const double> values);
// Of the mean: sample standard deviation / sqrt(n). None for fewer than two values.
std::optional<double> mean_error(std::span<const double> values);

// exp(-mean log-likelihood), and its standard error by bootstrap: `resamples` in whole chunks of
// 1,000, chunk i drawn by Python's random.Random(i).choices, the sample standard deviation of all.
double perplexity(std::span<const double> log_likelihoods);
constexpr std::int64_t kResamples = 100'000;
std::optional<double> perplexity_error(std::span<const double> log_likelihoods,
                                       std::int64_t resamples = kResamples);

// One task of a group.
struct Part {
  std::int64_t documents = 0;
  double value = 0;
  std::optional<double> error;
};
// Every document counts alike.
double pooled_mean(std::span<const Part> parts);
// sqrt(Σ (n_i − 1) s_i² / (Σ n_i − K) / Σ n_i) with s_i² = error_i² n_i over the K parts. None
// where one of them has none.
std::optional<double> pooled_error(std::span<const Part> parts);

}  // namespace eyrie::eval
