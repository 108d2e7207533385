// The learning rate of a step: a function of the step's position in its stage.
#pragma once

#include <cstdint>

#include "trainer/run_config.h"

namespace eyrie::trainer {

// `stage_step` counts from 0. Linear warm-up to `peak` over `warmup` steps (the first step has peak
// / warmup), then by shape: constant; cosine or linear from peak to final at the last step; wsd
// stays at peak and falls linearly to final over the last decay_share of the steps.
double learning_rate(const ScheduleConfig& schedule, std::int64_t stage_step, std::int64_t steps);

}  // namespace eyrie::trainer
