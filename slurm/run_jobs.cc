// Reading and writing what a run's folder tells of its jobs.
#include "slurm/run_jobs.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "base/error.h"
#include "base/json_text.h"
#include "base/listing.h"

namespace eyrie::slurm {

using nlohmann::json;

namespace {

base::Path jobs_file(const base::Path& directory) { return directory / "slurm" / "jobs.json"; }

}  // namespace

std::optional<RunJobs> read_jobs(const base::Path& directory) {
  const base::Path path = jobs_file(directory);
  if (!base::is_there(path)) return std::nullopt;
  try {
    const json file = json::parse(base::read_json_object(path.string()));
    RunJobs jobs;
    jobs.submitted = file.at("submitted").get<std::int64_t>();
    jobs.folder = file.at("folder").get<std::string>();
    jobs.run_file = file.at("run_file").get<std::string>();
    for (const json& job : file.at("jobs"))
      jobs.jobs.push_back({job.at("id").get<std::string>(), job.at("stage").get<std::string>()});
    for (const json& one : file.value("evaluations", json::array()))
      jobs.evaluations.push_back(
          {one.at("id").get<std::string>(), one.at("what").get<std::string>()});
    return jobs;
  } catch (const json::exception& error) {
    throw base::InputError(fmt::format(
        "{} is not what `eyrie slurm submit` wrote ({}): remove it, and see `squeue` for the jobs",
        path.string(), error.what()));
  }
}

void write_jobs(const base::Path& directory, const RunJobs& jobs) {
  json list = json::array();
  for (const SubmittedJob& job : jobs.jobs) list.push_back({{"id", job.id}, {"stage", job.stage}});
  json evaluations = json::array();
  for (const EvaluationEntry& one : jobs.evaluations)
    evaluations.push_back({{"id", one.id}, {"what", one.what}});
  const json file = {{"version", 1},          {"submitted", jobs.submitted},
                     {"folder", jobs.folder}, {"run_file", jobs.run_file},
                     {"jobs", list},          {"evaluations", evaluations}};
  base::write_file(jobs_file(directory), file.dump(2) + "\n");
}

std::vector<Start> read_starts(const base::Path& directory) {
  const base::Path path = directory / "slurm" / "starts.jsonl";
  std::vector<Start> starts;
  if (!base::is_there(path)) return starts;
  std::istringstream lines(base::read_file(path));
  for (std::string text; std::getline(lines, text);) {
    const json line = json::parse(text, nullptr, false);
    if (!line.is_object()) continue;
    const auto number = [&](const char* key) {
      return line.contains(key) && line[key].is_number_integer() ? line[key].get<std::int64_t>()
                                                                 : 0;
    };
    const auto word = [&](const char* key) {
      return line.contains(key) && line[key].is_string() ? line[key].get<std::string>() : "";
    };
    const std::string job = word("job");
    const std::int64_t start = number("start");
    if (word("event") == "start") {
      starts.push_back({.job = job,
                        .number = start,
                        .stage = word("stage"),
                        .hosts = word("hosts"),
                        .nodes = static_cast<int>(number("nodes")),
                        .ranks = static_cast<int>(number("ranks")),
                        .began = number("time"),
                        .ended = {},
                        .status = 0,
                        .why = ""});
    } else if (word("event") == "end" && !starts.empty() && starts.back().job == job &&
               starts.back().number == start) {
      starts.back().ended = number("time");
      starts.back().status = static_cast<int>(number("status"));
      starts.back().why = word("why");
    }
  }
  return starts;
}

base::Path cancelled_mark(const base::Path& directory) { return directory / "slurm" / "cancelled"; }
base::Path evaluations_cancelled_mark(const base::Path& directory) {
  return directory / "slurm" / "evaluations-cancelled";
}

}  // namespace eyrie::slurm
