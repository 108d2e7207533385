// Finds steps that must be skipped: a loss or gradient norm that is not finite, or many standard
// deviations above those of the last steps. All ranks see the same values, so all decide alike.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

namespace eyrie::trainer {

struct OutlierConfig {
  double z_score = 10;               // limit above the window's mean; 0: only values not finite
  std::int64_t window = 128;         // last accepted steps; none is judged before so many
  std::int64_t roll_back_after = 3;  // skipped steps in a row; 0: never
};

class OutlierDetector {
 public:
  explicit OutlierDetector(const OutlierConfig& config) : config_(config) {}

  // Returns why the step is to be skipped, or "". Only accepted steps join the window.
  std::string judge(double loss, double grad_norm);
  std::int64_t in_a_row() const { return in_a_row_; }  // skipped steps up to now
  bool roll_back() const {
    return config_.roll_back_after > 0 && in_a_row_ >= config_.roll_back_after;
  }
  void forget_row() { in_a_row_ = 0; }

  // What a checkpoint stores: in_a_row, then the window's losses and gradient norms in turn.
  std::vector<double> state() const;
  void set_state(const std::vector<double>& state);

 private:
  struct Seen {
    double loss, grad_norm;
  };
  OutlierConfig config_;
  std::deque<Seen> window_;
  std::int64_t in_a_row_ = 0;
};

}  // namespace eyrie::trainer
