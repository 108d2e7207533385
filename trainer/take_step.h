// One step of a run: gradients, the judgement of outliers, the update, and the position after it.
// Training and replays take it alike.
#pragma once

#include <functional>
#include <string>

#include "trainer/outliers.h"
#include "trainer/run_data.h"
#include "trainer/run_state.h"
#include "trainer/training_model.h"

namespace eyrie::trainer {

struct TakenStep {
  StepResult result;
  double learning_rate = 0;
  std::string skipped;  // why it was; "" if the parameters were updated
};

// Collective. `stop` and `gain`: TrainingModel::forward_backward().
TakenStep take_step(TrainingModel& model, const RunData& data, const RunConfig& run,
                    RunPosition& position, OutlierDetector& outliers,
                    const std::function<bool()>& stop, double gain = 1);

// Collective. Before the first step of position.stage.
void enter_stage(TrainingModel& model, const RunConfig& run, RunPosition& position);

}  // namespace eyrie::trainer
