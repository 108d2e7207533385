// Judges steps.
#include "trainer/outliers.h"

#include <fmt/format.h>

#include <cmath>

#include "base/error.h"

namespace eyrie::trainer {

std::string OutlierDetector::judge(double loss, double grad_norm) {
  std::string why;
  const auto look = [&](const char* what, double value, double Seen::*member) {
    if (!why.empty()) return;
    if (!std::isfinite(value)) {
      why = fmt::format("the {} is {}", what, std::isnan(value) ? "not a number" : "infinite");
      return;
    }
    const auto count = static_cast<double>(window_.size());
    if (config_.z_score <= 0 || static_cast<std::int64_t>(window_.size()) < config_.window) return;
    double mean = 0, variance = 0;
    for (const Seen& seen : window_) mean += seen.*member / count;
    for (const Seen& seen : window_)
      variance += (seen.*member - mean) * (seen.*member - mean) / count;
    const double deviation = std::sqrt(variance);
    // If the window does not vary at all, nothing can be judged.
    if (deviation <= 0 || value - mean <= config_.z_score * deviation) return;
    why = fmt::format(
        "the {} {:.4g} lies {:.1f} standard deviations above the mean {:.4g} of the "
        "last {} steps",
        what, value, (value - mean) / deviation, mean, window_.size());
  };
  look("loss", loss, &Seen::loss);
  look("gradient norm", grad_norm, &Seen::grad_norm);
  if (!why.empty()) {
    ++in_a_row_;
    return why;
  }
  in_a_row_ = 0;
  window_.push_back({loss, grad_norm});
  if (static_cast<std::int64_t>(window_.size()) > config_.window) window_.pop_front();
  return why;
}

std::vector<double> OutlierDetector::state() const {
  std::vector<double> state = {static_cast<double>(in_a_row_)};
  for (const Seen& seen : window_) {
    state.push_back(seen.loss);
    state.push_back(seen.grad_norm);
  }
  return state;
}

void OutlierDetector::set_state(const std::vector<double>& state) {
  EYRIE_CHECK(state.size() % 2 == 1, "a state of outliers is a number and pairs");
  in_a_row_ = static_cast<std::int64_t>(state[0]);
  window_.clear();
  for (std::size_t i = 1; i < state.size(); i += 2) window_.push_back({state[i], state[i + 1]});
  while (static_cast<std::int64_t>(window_.size()) > config_.window) window_.pop_front();
}

}  // namespace eyrie::trainer
