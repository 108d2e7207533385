// Derivatives by finite differences in double: what a gradient of ours is held against.
#pragma once

#include <functional>
#include <vector>

namespace eyrie::test {

// d loss / d x[i] for every i, by central differences of fourth order: the error is of the order of
// step⁴ times the fifth derivative, about 1e-12 for functions of ordinary size.
inline std::vector<double> numeric_gradient(
    const std::function<double(const std::vector<double>&)>& loss, std::vector<double> x,
    double step = 1e-3) {
  std::vector<double> gradient;
  for (double& element : x) {
    const double at = element;
    const auto moved = [&](double by) {
      element = at + by;
      return loss(x);
    };
    const double near = moved(step) - moved(-step), far = moved(2 * step) - moved(-2 * step);
    element = at;
    gradient.push_back((8 * near - far) / (12 * step));
  }
  return gradient;
}

// Σ weight · value: a scalar whose gradient carries `weight` backwards.
inline double weighted_sum(const std::vector<double>& weight, const std::vector<double>& value) {
  double sum = 0;
  for (std::size_t i = 0; i < value.size(); ++i) sum += weight[i] * value[i];
  return sum;
}

}  // namespace eyrie::test
