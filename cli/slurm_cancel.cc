// eyrie slurm cancel RUN: ends the jobs of a run, after a checkpoint.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <chrono>
#include <thread>

#include "base/error.h"
#include "base/output.h"
#include "cli/command.h"
#include "cli/flags.h"
#include "cli/slurm_evaluation.h"
#include "slurm/queue.h"
#include "slurm/run_jobs.h"

namespace eyrie::cli {
namespace {

bool any_alive(const slurm::RunJobs& jobs) {
  for (const slurm::SubmittedJob& job : jobs.jobs)
    if (slurm::job_state(job.id).is_alive()) return true;
  return !alive_evaluations(jobs).empty();
}

}  // namespace

int run_slurm_cancel(int argc, char** argv) {
  std::string run;
  bool now = false, wait = false;
  CLI::App app(
      "Ends the jobs of a run: those that wait leave the queue, the one that runs saves a "
      "checkpoint after its step and ends, evaluations keep their answers. Submitted again, all "
      "goes on from there.",
      argv[0]);
  app.add_option("RUN", run, "the run's folder")->required();
  app.add_flag("--now", now, "without waiting for a checkpoint (it has Slurm's KillWait)");
  app.add_flag("--wait", wait, "return when the jobs have ended");
  if (const auto end = parse(app, argc, argv)) return *end;
  const auto jobs = slurm::read_jobs(run);
  if (!jobs)
    throw base::InputError(
        fmt::format("{}: no jobs were submitted from it (`eyrie slurm submit`)", run));
  // Before the signal: the script looks for it when the ranks have ended.
  base::write_file(slurm::cancelled_mark(run), "by eyrie slurm cancel\n");
  base::write_file(slurm::evaluations_cancelled_mark(run), "by eyrie slurm cancel\n");
  // From the last, so that none begins because the one before it has ended.
  for (auto job = jobs->jobs.rbegin(); job != jobs->jobs.rend(); ++job) {
    const slurm::JobState state = slurm::job_state(job->id);
    if (!state.is_alive()) continue;
    const bool runs = state.state == "RUNNING";
    if (!slurm::signal(job->id, runs && !now ? "USR1" : "")) continue;
    base::print("job {:>8}  stage {}: {}\n", job->id, job->stage,
                runs && !now ? "saves a checkpoint and ends"
                : runs       ? "is ended"
                             : "has left the queue");
  }
  const auto evaluations = alive_evaluations(*jobs);
  for (auto one = evaluations.rbegin(); one != evaluations.rend(); ++one) {
    if (!now) slurm::signal(one->id, "", true);  // those that wait would not get the other
    slurm::signal(one->id, now ? "" : "USR1");
    base::print("job {:>8}  {}: {}\n", one->id, one->what,
                now ? "is ended" : "saves its answers and ends");
  }
  base::flush_output();
  while (wait && any_alive(*jobs)) std::this_thread::sleep_for(std::chrono::seconds(1));
  return base::kExitDone;
}

}  // namespace eyrie::cli
