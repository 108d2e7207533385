// One step, and the begin of a stage.
#include "trainer/take_step.h"

#include "trainer/schedule.h"

namespace eyrie::trainer {

TakenStep take_step(TrainingModel& model, const RunData& data, const RunConfig& run,
                    RunPosition& position, OutlierDetector& outliers,
                    const std::function<bool()>& stop, double gain) {
  const StageConfig& stage = run.stages[position.stage];
  TakenStep taken;
  taken.result = model.forward_backward(*data.objectives[position.stage],
                                        *data.streams[position.stage], stage.micro_shards,
                                        position.stage_step + position.data_offset, stop, gain);
  taken.learning_rate = learning_rate(stage.learning_rate, position.stage_step, stage.steps);
  taken.skipped = outliers.judge(taken.result.loss, taken.result.grad_norm);
  if (taken.skipped.empty()) {
    taken.result.exchange_s += model.update(taken.learning_rate, taken.result.grad_norm);
    position.roll_backs.tries = 0;
  }
  ++position.step;
  ++position.stage_step;
  position.tokens += stage.batch_sequences * stage.sequence_length;
  return taken;
}

void enter_stage(TrainingModel& model, const RunConfig& run, RunPosition& position) {
  position.data_offset = 0;
  if (run.stages[position.stage].reset_moments && position.stage > 0)
    model.optimizer().reset_moments();
}

}  // namespace eyrie::trainer
