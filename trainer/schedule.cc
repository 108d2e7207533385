// Learning-rate schedules.
#include "trainer/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace eyrie::trainer {

double learning_rate(const ScheduleConfig& schedule, std::int64_t stage_step, std::int64_t steps) {
  if (stage_step < schedule.warmup) {
    return schedule.peak * static_cast<double>(stage_step + 1) /
           static_cast<double>(schedule.warmup);
  }
  if (schedule.shape == "constant") return schedule.peak;
  std::int64_t begin = schedule.warmup;  // the last step with the peak
  if (schedule.shape == "wsd") {
    const auto falling =
        static_cast<std::int64_t>(std::llround(schedule.decay_share * static_cast<double>(steps)));
    begin = std::max(schedule.warmup, steps - 1 - falling);
  }
  if (stage_step <= begin || steps - 1 <= begin) return schedule.peak;
  const double done = std::min(
      1.0, static_cast<double>(stage_step - begin) / static_cast<double>(steps - 1 - begin));
  const double left =
      schedule.shape == "cosine" ? 0.5 * (1.0 + std::cos(std::numbers::pi * done)) : 1.0 - done;
  return schedule.final + (schedule.peak - schedule.final) * left;
}

}  // namespace eyrie::trainer
