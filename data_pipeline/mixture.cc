// Computes one period of the mixture. With integer shares s_i that add up to P, let d_i(n) = n·s_i
// − P·given_i(n) be how far source i is behind after n rows, in units of 1/P row. Row n + 1 goes to
// the source with the largest n·s_i + s_i − P·given_i. These values add up to P, so the largest is
// positive and d_i never falls to −P or below. At n = P every d_i is a multiple of P above −P, and
// they add up to 0; so all are 0, and the sequence repeats.
#include "data_pipeline/mixture.h"

#include <fmt/format.h>

#include <cmath>
#include <numeric>

#include "base/error.h"

namespace eyrie::data_pipeline {
namespace {
constexpr double kParts = 1e6;
}

Mixture::Mixture(const std::vector<double>& weights) {
  double sum = 0;
  for (const double weight : weights) {
    if (!(weight >= 0) || !std::isfinite(weight))
      throw base::InputError(
          fmt::format("mixture: weight {} is not a number of 0 or more", weight));
    sum += weight;
  }
  if (!(sum > 0)) throw base::InputError("mixture: no source has a weight above 0");
  std::int64_t divisor = 0;
  for (const double weight : weights) {
    shares_.push_back(std::llround(weight / sum * kParts));
    if (weight > 0 && shares_.back() == 0)
      throw base::InputError(
          fmt::format("mixture: weight {} is less than a millionth of all", weight));
    divisor = std::gcd(divisor, shares_.back());
  }
  std::int64_t period = 0;
  for (std::int64_t& share : shares_) period += share /= divisor;

  std::vector<std::int64_t> behind(shares_.size(), 0), given(shares_.size(), 0);
  for (std::int64_t n = 0; n < period; ++n) {
    std::size_t most = 0;
    for (std::size_t i = 0; i < shares_.size(); ++i) {
      behind[i] += shares_[i];
      if (behind[i] > behind[most]) most = i;
    }
    behind[most] -= period;
    sources_.push_back(static_cast<std::uint16_t>(most));
    indices_.push_back(static_cast<std::uint32_t>(given[most]++));
  }
}

Mixture::Place Mixture::row(std::int64_t n) const {
  const std::size_t source = sources_[n % period()];
  return {source, n / period() * shares_[source] + indices_[n % period()]};
}

std::int64_t Mixture::given(std::size_t source, std::int64_t rows) const {
  std::int64_t count = rows / period() * shares_[source];
  for (std::int64_t n = 0; n < rows % period(); ++n) count += sources_[n] == source;
  return count;
}

}  // namespace eyrie::data_pipeline
