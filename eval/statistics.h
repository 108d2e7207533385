// Means over documents and their standard errors, as lm-evaluation-harness reports them.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

namespace eyrie::eval {

// Returns the index of the largest value; of several, the first. `values` must not be empty.
std::size_t first_largest(std::span<const double> values);

double mean(std::span<const double> values);
// The standard error of the mean: sample standard deviation / sqrt(n). None for fewer than two
// values.
std::optional<double> mean_error(std::span<const double> values);

// exp(-mean log-likelihood), and its standard error by bootstrap: `resamples` in whole chunks of
// 1,000, where chunk i is drawn by Python's random.Random(i).choices; the error is the sample
// standard deviation over all of them.
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
// The mean over all documents of the parts, each with equal weight.
double pooled_mean(std::span<const Part> parts);
// sqrt(Σ (n_i − 1) s_i² / (Σ n_i − K) / Σ n_i) with s_i² = error_i² n_i over the K parts. None if a
// part has none.
std::optional<double> pooled_error(std::span<const Part> parts);

}  // namespace eyrie::eval
