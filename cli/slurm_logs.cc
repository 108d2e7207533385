// eyrie slurm logs RUN: what the jobs of a run printed.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <chrono>
#include <optional>
#include <thread>

#include "base/error.h"
#include "base/listing.h"
#include "base/output.h"
#include "cli/command.h"
#include "cli/flags.h"
#include "slurm/job_script.h"
#include "slurm/queue.h"
#include "slurm/run_jobs.h"

namespace eyrie::cli {
namespace {

// The log of a job of this run; its name ends with the job's number.
std::optional<base::Path> log_of(const base::Path& run, const std::string& job) {
  const std::string ending = fmt::format("-{}.log", job);
  for (const base::Path& path : base::list_folder(slurm::logs_of(run)))
    if (path.filename().string().ends_with(ending)) return path;
  return std::nullopt;
}

std::string read_from(const base::Path& path, std::uint64_t from) {
  const base::File file = base::File::open(path);
  const std::uint64_t size = file.size();
  if (size <= from) return {};
  std::string text(size - from, '\0');
  file.read_at(std::as_writable_bytes(std::span<char>(text)), from);
  return text;
}

// Where the last `lines` lines of a text begin.
std::size_t last_lines(const std::string& text, std::int64_t lines) {
  std::size_t at = text.ends_with('\n') ? text.size() - 1 : text.size();
  while (at > 0 && (text[at - 1] != '\n' || --lines > 0)) --at;
  return at;
}

// The ends of the logs of evaluations: evaluate-JOB_TASK.log, table-JOB.log.
void print_evaluations(const base::Path& run, const slurm::RunJobs& jobs, std::int64_t lines) {
  for (const slurm::EvaluationEntry& one : jobs.evaluations) {
    for (const base::Path& path : base::list_folder(slurm::logs_of(run))) {
      const std::string name = path.filename().string();
      if (!name.starts_with(fmt::format("evaluate-{}_", one.id)) &&
          name != fmt::format("table-{}.log", one.id))
        continue;
      const std::string text = read_from(path, 0);
      base::print("== job {}, {}: {}\n", one.id, one.what, path.string());
      base::print_text(text.substr(last_lines(text, lines)));
    }
  }
}

}  // namespace

int run_slurm_logs(int argc, char** argv) {
  std::string run;
  bool follow = false, evaluations = false;
  std::int64_t lines = 40;
  CLI::App app("Prints the end of what the jobs of a run printed.", argv[0]);
  app.add_option("RUN", run, "the run's folder")->required();
  app.add_flag("--follow", follow, "go on with what they print, until the last has ended");
  app.add_flag("--evaluations", evaluations, "those of its evaluations too");
  add_whole(app, "--lines", lines, "of each job's end", 1);
  if (const auto end = parse(app, argc, argv)) return *end;
  const auto jobs = slurm::read_jobs(run);
  if (!jobs)
    throw base::InputError(
        fmt::format("{}: no jobs were submitted from it (`eyrie slurm submit`)", run));
  for (const slurm::SubmittedJob& job : jobs->jobs) {
    std::uint64_t printed = 0;
    bool named = false;
    for (;;) {
      const bool alive = follow && slurm::job_state(job.id).is_alive();
      if (const auto path = log_of(run, job.id)) {
        std::string text = read_from(*path, printed);
        printed += text.size();
        if (!named) {
          base::print("== job {}, stage {}: {}\n", job.id, job.stage, path->string());
          text.erase(0, last_lines(text, lines));
          named = true;
        }
        base::print_text(text);
        base::flush_output();
      }
      if (!alive) break;
      std::this_thread::sleep_for(std::chrono::seconds(1));
    }
  }
  if (evaluations) print_evaluations(run, *jobs, lines);
  return base::kExitDone;
}

}  // namespace eyrie::cli
