// train(): from the configuration to the end of the run.
#include "trainer/trainer.h"

#include <fmt/format.h>

#include "base/log.h"
#include "parallel/communication/run_guarded.h"
#include "tensor/threads.h"
#include "trainer/bytes.h"
#include "trainer/run_facts.h"
#include "trainer/training_run.h"

namespace eyrie::trainer {
namespace {

// Says what a start would do, without doing it.
void check(OpenRun& run) {
  RunPosition position;
  OutlierDetector outliers(run.config().outliers);
  const std::string where = RunCheckpoints(run, nullptr, position, outliers).check();
  if (run.first()) {
    if (const auto owner = base::owner_of(run.directory()))
      base::log_warning(fmt::format("{} is in use by {}: a start now would be refused",
                                    run.directory().string(), *owner));
  }
  const RunConfig& config = run.config();
  base::log_info(fmt::format(
      "{}: everything fits: {}, {} on {} ({}), {} a rank at the most; it would train {}",
      config.name, base::counted(static_cast<std::int64_t>(config.stages.size()), "stage"),
      base::counted(config.total_steps(), "step"), base::counted(run.mesh().ranks(), "rank"),
      parallel::describe(run.mesh()), bytes_text(run.planned().bytes),
      where.empty() ? "from the beginning" : where));
}

}  // namespace

Outcome train(const RunConfig& config, parallel::Communicator& world, const TrainOptions& options,
              const AfterStage& after_stage) {
  parallel::check_same(world, start_facts(config, options),
                       "Give every rank the same command and the same configuration");
  tensor::set_thread_count(threads_for(config.threads, world));
  std::unique_ptr<OpenRun> run;
  std::unique_ptr<TrainingRun> training;  // outlives the report of a failure
  try {
    run = std::make_unique<OpenRun>(config, world, options);
    Outcome outcome = Outcome::kDone;
    if (options.check) {
      check(*run);
    } else {
      training = std::make_unique<TrainingRun>(*run);
      training->resume_or_begin();
      outcome = training->run(after_stage);
    }
    run->peer_monitor().finish();  // the ranks may leave
    return outcome;
  } catch (const std::exception& error) {
    parallel::tell_failure(world, error);  // a save in progress may take long to end
    throw;
  }
}

}  // namespace eyrie::trainer
