// Sums are in document order and double precision.
#include "eval/statistics.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "base/error.h"
#include "text/python_random.h"

namespace eyrie::eval {
namespace {

std::optional<double> sample_deviation(std::span<const double> values) {
  if (values.size() < 2) return std::nullopt;
  const double middle = mean(values);
  double squares = 0;
  for (const double value : values) squares += (value - middle) * (value - middle);
  return std::sqrt(squares / static_cast<double>(values.size() - 1));
}

}  // namespace

std::size_t first_largest(std::span<const double> values) {
  EYRIE_CHECK(!values.empty(), "the largest of nothing");
  return static_cast<std::size_t>(std::max_element(values.begin(), values.end()) - values.begin());
}

double mean(std::span<const double> values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

std::optional<double> mean_error(std::span<const double> values) {
  const std::optional<double> deviation = sample_deviation(values);
  if (!deviation) return std::nullopt;
  return *deviation / std::sqrt(static_cast<double>(values.size()));
}

double perplexity(std::span<const double> log_likelihoods) {
  return std::exp(-mean(log_likelihoods));
}

std::optional<double> perplexity_error(std::span<const double> log_likelihoods,
                                       std::int64_t resamples) {
  if (log_likelihoods.size() < 2) return std::nullopt;
  const std::int64_t in_chunk = std::min<std::int64_t>(1000, resamples);
  const auto n = static_cast<double>(log_likelihoods.size());
  std::vector<double> replicates;
  replicates.reserve(static_cast<std::size_t>(resamples));
  for (std::int64_t chunk = 0; chunk < resamples / in_chunk; ++chunk) {
    text::PythonRandom random(static_cast<std::uint64_t>(chunk));
    for (std::int64_t i = 0; i < in_chunk; ++i) {
      double sum = 0;
      for (std::size_t k = 0; k < log_likelihoods.size(); ++k) {
        sum += log_likelihoods[static_cast<std::size_t>(random.uniform() * n)];
      }
      replicates.push_back(std::exp(-sum / n));
    }
  }
  return sample_deviation(replicates);
}

double pooled_mean(std::span<const Part> parts) {
  double sum = 0, documents = 0;
  for (const Part& part : parts) {
    sum += part.value * static_cast<double>(part.documents);
    documents += static_cast<double>(part.documents);
  }
  return sum / documents;
}

std::optional<double> pooled_error(std::span<const Part> parts) {
  double squares = 0, documents = 0;
  for (const Part& part : parts) {
    if (!part.error) return std::nullopt;
    const auto n = static_cast<double>(part.documents);
    squares += (n - 1) * *part.error * *part.error * n;
    documents += n;
  }
  const double freedom = documents - static_cast<double>(parts.size());
  if (freedom <= 0) return std::nullopt;
  return std::sqrt(squares / freedom / documents);
}

}  // namespace eyrie::eval
