// Slurm's commands and their answers.
#include "slurm/queue.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <ctime>
#include <map>
#include <sstream>

#include "base/error.h"
#include "slurm/program.h"

namespace eyrie::slurm {
namespace {

std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> parts;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, at);) parts.push_back(part);
  return parts;
}

std::optional<std::int64_t> whole(const std::string& text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

// "16" and "16+" (the least of several kinds of nodes).
std::int64_t least(const std::string& text) {
  return whole(text.substr(0, text.find_first_not_of("0123456789"))).value_or(0);
}

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

ProgramResult ask(const std::vector<std::string>& arguments) {
  ProgramResult result = run_program(arguments);
  if (!result.found) {
    throw base::InputError(
        fmt::format("there is no Slurm here ({} is not on the PATH): run this on a login node of "
                    "the cluster, or "
                    "try it on this machine (slurm/lab/up)",
                    arguments[0]));
  }
  return result;
}

}  // namespace

std::optional<std::int64_t> seconds_of(const std::string& time) {
  if (time == "UNLIMITED" || time == "INFINITE" || time == "infinite") return -1;
  if (time.ends_with(':')) return std::nullopt;
  const std::size_t dash = time.find('-');
  std::vector<std::int64_t> parts;
  for (const std::string& part :
       split(dash == std::string::npos ? time : time.substr(dash + 1), ':')) {
    const auto number = whole(part);
    if (!number) return std::nullopt;
    parts.push_back(*number);
  }
  if (parts.empty() || parts.size() > 3) return std::nullopt;
  if (dash != std::string::npos) {  // days-hours[:minutes[:seconds]]
    const auto days = whole(time.substr(0, dash));
    if (!days) return std::nullopt;
    parts.resize(3, 0);
    return ((*days * 24 + parts[0]) * 60 + parts[1]) * 60 + parts[2];
  }
  if (parts.size() == 1) return parts[0] * 60;
  if (parts.size() == 2) return parts[0] * 60 + parts[1];
  return (parts[0] * 60 + parts[1]) * 60 + parts[2];
}

std::string time_text(std::int64_t seconds) {
  if (seconds < 0) return "UNLIMITED";
  const std::string clock =
      fmt::format("{:02}:{:02}:{:02}", seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
  return seconds >= 86400 ? fmt::format("{}-{}", seconds / 86400, clock) : clock;
}

std::vector<Partition> partitions() {
  // "%P" marks the default with a star. One line per kind of node.
  const ProgramResult result = ask({"sinfo", "--noheader", "--format=%P|%a|%l|%D|%c|%m"});
  if (result.status != 0)
    throw base::Error(fmt::format(
        "sinfo does not answer ({}): run this on a login node of the cluster; on the cluster of "
        "slurm/lab/up, export SLURM_CONF first, as it says",
        first_line(result.errors + result.output)));
  std::map<std::string, Partition> all;
  std::vector<std::string> order;
  for (const std::string& line : split(result.output, '\n')) {
    const auto fields = split(line, '|');
    if (fields.size() != 6) continue;
    Partition one;
    one.name = fields[0];
    one.is_default = !one.name.empty() && one.name.back() == '*';
    if (one.is_default) one.name.pop_back();
    one.is_up = fields[1] == "up";
    one.time_limit = seconds_of(fields[2]).value_or(-1);
    one.nodes = static_cast<int>(least(fields[3]));
    one.cpus = static_cast<int>(least(fields[4]));
    one.memory_mb = least(fields[5]);
    const auto [there, is_new] = all.try_emplace(one.name, one);
    if (is_new) {
      order.push_back(one.name);
      continue;
    }
    there->second.nodes += one.nodes;
    there->second.cpus = std::min(there->second.cpus, one.cpus);
    there->second.memory_mb = std::min(there->second.memory_mb, one.memory_mb);
  }
  std::vector<Partition> in_order;
  for (const std::string& name : order) in_order.push_back(all[name]);
  return in_order;
}

namespace {

// "3", "0-2", "0-2,5%4": how many.
int tasks_in(const std::string& text) {
  int tasks = 0;
  for (const std::string& part : split(text.substr(0, text.find('%')), ',')) {
    const std::size_t dash = part.find('-');
    tasks += dash == std::string::npos
                 ? 1
                 : static_cast<int>(least(part.substr(dash + 1)) - least(part)) + 1;
  }
  return std::max(tasks, 1);
}

// One line of scontrol.
JobState parse_job(const std::string& line) {
  JobState job;
  std::map<std::string, std::string> fields;
  for (const std::string& word : split(line, ' ')) {
    const std::size_t equals = word.find('=');
    if (equals != std::string::npos)
      fields.emplace(word.substr(0, equals), word.substr(equals + 1));
  }
  const auto field = [&](const char* name) {
    const std::string value = fields[name];
    return value == "None" || value == "(null)" ? std::string() : value;
  };
  job.state = field("JobState");
  job.reason = field("Reason");
  job.nodes = field("NodeList");
  job.node_count = job.nodes.empty() ? 0 : static_cast<int>(least(field("NumNodes")));
  job.restarts = static_cast<int>(least(field("Restarts")));
  job.log_not_opened = field("ExitCode") == "0:53";
  job.tasks = tasks_in(field("ArrayTaskId"));
  std::tm parts{};
  if (strptime(field("EndTime").c_str(), "%Y-%m-%dT%H:%M:%S", &parts) != nullptr) {
    parts.tm_isdst = -1;
    job.end_time = std::mktime(&parts);
  }
  return job;
}

}  // namespace

std::vector<JobState> task_states(const std::string& name) {
  const ProgramResult result = ask({"scontrol", "--oneliner", "show", "job", name});
  std::vector<JobState> states;
  if (result.status != 0) {
    if (result.errors.find("Invalid job id") != std::string::npos) return states;  // long ended
    throw base::Error("scontrol does not answer: " + first_line(result.errors + result.output));
  }
  for (const std::string& line : split(result.output, '\n'))
    if (!line.empty()) states.push_back(parse_job(line));
  return states;
}

JobState job_state(const std::string& name) {
  const auto states = task_states(name);
  return states.empty() ? JobState{} : states.front();
}

std::string submit(const base::Path& script, const std::vector<std::string>& options) {
  std::vector<std::string> arguments = {"sbatch", "--parsable"};
  arguments.insert(arguments.end(), options.begin(), options.end());
  arguments.push_back(script.string());
  const ProgramResult result = ask(arguments);
  const auto id = whole(first_line(result.output).substr(0, result.output.find_first_of(";\n")));
  if (result.status != 0 || !id) {
    throw base::InputError(fmt::format("sbatch refuses {}: {}", script.string(),
                                       first_line(result.errors + result.output)));
  }
  return std::to_string(*id);
}

bool signal(const std::string& job, const std::string& name, bool waiting_only) {
  std::vector<std::string> arguments = {"scancel"};
  if (waiting_only) arguments.push_back("--state=PENDING");
  if (!name.empty()) arguments.push_back("--signal=" + name);
  arguments.push_back(job);
  const ProgramResult result = ask(arguments);
  if (result.status == 0) return true;
  if (result.errors.find("Invalid job id") != std::string::npos ||
      result.errors.find("already completing or completed") != std::string::npos)
    return false;
  throw base::Error(fmt::format("scancel {}: {}", job, first_line(result.errors)));
}

}  // namespace eyrie::slurm
