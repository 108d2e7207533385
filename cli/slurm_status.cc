// eyrie slurm status [RUN …]: where the jobs of runs are, and how far the runs.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <ctime>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>

#include "base/error.h"
#include "base/listing.h"
#include "base/output.h"
#include "cli/command.h"
#include "cli/flags.h"
#include "cli/plan_search.h"
#include "cli/slurm_evaluation.h"
#include "slurm/job_script.h"
#include "slurm/queue.h"
#include "slurm/run_jobs.h"
#include "trainer/run_config.h"

namespace eyrie::cli {
namespace {

using nlohmann::json;

// What metrics.jsonl says of the last steps.
struct Progress {
  std::int64_t step = 0;
  std::string stage;
  double loss = 0, tokens_per_s = 0, step_s = 0;  // step_s: the median of the last steps
  std::int64_t time = 0;
  std::optional<double> validation_loss;
};

std::optional<Progress> read_progress(const base::Path& directory) {
  const base::Path path = directory / "metrics.jsonl";
  if (!base::is_there(path)) return std::nullopt;
  Progress last;
  std::vector<double> steps;
  // The end of the file is enough.
  constexpr std::uint64_t kEnd = 64 << 10;
  const base::File file = base::File::open(path);
  const std::uint64_t size = file.size(), from = size > kEnd ? size - kEnd : 0;
  std::string text(size - from, '\0');
  file.read_at(std::as_writable_bytes(std::span<char>(text)), from);
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const json one = json::parse(line, nullptr, false);
    if (!one.is_object() || !one.contains("step")) continue;
    if (one.contains("validation_loss")) last.validation_loss = one["validation_loss"];
    if (!one.contains("loss") || !one.contains("step_s")) continue;
    last.step = one["step"];
    last.stage = one.value("stage", "");
    last.loss = one["loss"].is_number() ? one["loss"].get<double>() : 0;
    last.tokens_per_s = one.value("tokens_per_s", 0.0);
    last.time = static_cast<std::int64_t>(one.value("time", 0.0));
    steps.push_back(one["step_s"]);
  }
  if (steps.empty()) return std::nullopt;
  if (steps.size() > 50) steps.erase(steps.begin(), steps.end() - 50);
  std::nth_element(steps.begin(), steps.begin() + std::ssize(steps) / 2, steps.end());
  last.step_s = steps[steps.size() / 2];
  return last;
}

void print_progress(const trainer::RunConfig& run, const Progress& at, bool running) {
  const auto ends = run.stage_ends();
  const auto stage =
      static_cast<std::size_t>(std::find_if(run.stages.begin(), run.stages.end(),
                                            [&](const auto& one) { return one.name == at.stage; }) -
                               run.stages.begin());
  if (stage == run.stages.size()) return;
  base::print(
      "step       {} of {}: stage {} {}/{}, loss {:.4f}{}, {:.0f} tokens/s\n", at.step, ends.back(),
      at.stage, at.step - (ends[stage] - run.stages[stage].steps), run.stages[stage].steps, at.loss,
      at.validation_loss ? fmt::format(", validation loss {:.4f}", *at.validation_loss) : "",
      at.tokens_per_s);
  if (at.step == ends.back()) return;
  const auto left = [&](std::int64_t end) {
    return duration_text(static_cast<double>(end - at.step) * at.step_s);
  };
  base::print(
      "to go      stage {}, run {}{}: {:.3g} s a step; validation, evaluation and waiting "
      "come on top\n",
      left(ends[stage]), left(ends.back()), running ? "" : " of running", at.step_s);
}

void print_starts(const std::vector<slurm::Start>& starts, std::optional<std::int64_t> last_seen,
                  bool running) {
  double node_seconds = 0;
  std::vector<std::string> restarts;
  for (std::size_t i = 0; i < starts.size(); ++i) {
    const slurm::Start& start = starts[i];
    const bool last = i + 1 == starts.size();
    std::int64_t end = start.ended.value_or(
        last && running ? std::time(nullptr)
                        : std::max(last_seen.value_or(start.began), start.began));
    if (!last) end = std::min(end, starts[i + 1].began);
    node_seconds += static_cast<double>((end - start.began) * start.nodes);
    if (!last && starts[i + 1].job == start.job)
      restarts.push_back(start.ended ? start.why
                                     : "without notice (a lost node, or no grace time)");
  }
  if (starts.empty()) return;
  base::print("starts     {}{}\n", starts.size(),
              restarts.empty()
                  ? ""
                  : fmt::format("; put back into the queue: {}", fmt::join(restarts, ", ")));
  base::print("used       {:.2f} node-hours\n", node_seconds / 3600);
}

void print_run(const base::Path& directory) {
  const auto jobs = slurm::read_jobs(directory);
  if (!jobs) {
    throw base::InputError(fmt::format("{}: no jobs were submitted from it (`eyrie slurm submit`)",
                                       directory.string()));
  }
  const auto starts = slurm::read_starts(directory);
  base::print("run        {}\n", directory.string());
  bool running = false;
  for (const slurm::SubmittedJob& job : jobs->jobs) {
    const slurm::JobState state = slurm::job_state(job.id);
    running = running || state.state == "RUNNING";
    std::string what = state.state;
    if (what.empty()) {  // Slurm has forgotten it: the last start knows
      what = "ended";
      for (const slurm::Start& start : starts)
        if (start.job == job.id && start.ended) what = "ended: " + start.why;
    }
    const std::string reason =
        state.waits() || state.state == "FAILED" || state.state == "CANCELLED" ? state.reason : "";
    base::print("job {:<8} stage {}: {}{}{}{}\n", job.id, job.stage, what,
                reason.empty() ? "" : fmt::format(" ({})", reason),
                state.nodes.empty() ? "" : fmt::format(" on {}", state.nodes),
                state.restarts > 0 ? fmt::format(", start {}", state.restarts + 1) : "");
    if (state.log_not_opened)
      base::print(
          "             {} could not open its log in {}: that folder is not there on this node, or "
          "not writable\n",
          state.nodes, slurm::logs_of(directory).string());
  }
  for (const slurm::EvaluationEntry& one : jobs->evaluations)
    base::print("job {:<8} {}: {}\n", one.id, one.what, evaluation_state(one.id));
  const base::Path file = directory / "run.yaml";
  const auto progress = read_progress(directory);
  if (progress && base::is_there(file))
    print_progress(trainer::read_run(file, {}), *progress, running);
  print_starts(starts, progress ? std::optional(progress->time) : std::nullopt, running);
}

}  // namespace

int run_slurm_status(int argc, char** argv) {
  std::vector<std::string> runs;
  CLI::App app(
      "Shows the jobs of runs that `eyrie slurm submit` submitted: state, reason of waiting, "
      "nodes; "
      "step, loss, speed, time to go; restarts with their reasons, node-hours.",
      argv[0]);
  app.add_option("RUN", runs, "folders of runs; none: all in runs/");
  if (const auto end = parse(app, argc, argv)) return *end;
  if (runs.empty()) {
    for (const base::Path& run : base::list_folder("runs"))
      if (base::is_there(run / "slurm" / "jobs.json")) runs.push_back(run.string());
    if (runs.empty()) throw base::InputError("no run in runs/ has jobs; name the folder of one");
  }
  for (std::size_t i = 0; i < runs.size(); ++i) {
    if (i > 0) base::print("\n");
    print_run(runs[i]);
  }
  return base::kExitDone;
}

}  // namespace eyrie::cli
