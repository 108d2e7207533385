// Environment variables of Open MPI, MPICH, PMIx, Slurm, PBS, LSF and Grid Engine.
#include "parallel/communication/launch.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <initializer_list>
#include <set>
#include <sstream>

#include <fmt/format.h>

#include "base/error.h"

namespace eyrie::parallel {
namespace {

// The value of the first variable that is set; -1 if there is none or it is not a number.
long number_of(std::initializer_list<const char*> names) {
  for (const char* name : names) {
    const char* value = std::getenv(name);
    if (value == nullptr) continue;
    char* end = nullptr;
    const long number = std::strtol(value, &end, 10);
    if (end != value && number >= 0) return number;
  }
  return -1;
}

std::string text_of(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

// Slurm numbers the batch script and an interactive shell as steps too, near 2^32.
bool is_slurm_step() {
  const long step = number_of({"SLURM_STEP_ID", "SLURM_STEPID"});
  return step >= 0 && step < 4'000'000'000;
}

std::string tasks_on_nodes(long tasks, long nodes) {
  return fmt::format("{} on {}", base::counted(tasks, "task"), base::counted(nodes, "node"));
}

UnusedAllocation slurm_allocation() {
  const std::string job = text_of("SLURM_JOB_ID");
  if (job.empty() || is_slurm_step()) return {};
  const long nodes = std::max(1L, number_of({"SLURM_JOB_NUM_NODES", "SLURM_NNODES"}));
  long tasks = number_of({"SLURM_NTASKS", "SLURM_NPROCS"});
  // The value is "2", or "2(x3),1": taking its first number is good enough.
  if (tasks < 0) tasks = nodes * std::max(1L, number_of({"SLURM_NTASKS_PER_NODE"}));
  tasks = std::max(tasks, nodes);
  if (tasks <= 1) return {};
  return {fmt::format("{} of Slurm job {}", tasks_on_nodes(tasks, nodes), job), "srun --mpi=pmix"};
}

// These systems count cores as slots, and one rank may use many: only extra hosts are certainly
// idle.
UnusedAllocation other_allocation() {
  std::set<std::string> hosts;
  std::string system, job;
  if (const std::string file = text_of("PBS_NODEFILE"); !file.empty()) {
    system = "PBS";
    job = text_of("PBS_JOBID");
    std::ifstream lines(file);
    for (std::string line; std::getline(lines, line);)
      if (!line.empty()) hosts.insert(line);
  } else if (const std::string pairs = text_of("LSB_MCPU_HOSTS"); !pairs.empty()) {
    system = "LSF";
    job = text_of("LSB_JOBID");
    std::istringstream words(pairs);
    for (std::string host, slots; words >> host >> slots;) hosts.insert(host);
  } else if (const std::string file = text_of("PE_HOSTFILE"); !file.empty()) {
    system = "Grid Engine";
    job = text_of("JOB_ID");
    std::ifstream lines(file);
    for (std::string line; std::getline(lines, line);)
      if (!line.empty()) hosts.insert(line.substr(0, line.find(' ')));
  }
  if (hosts.size() <= 1) return {};
  return {fmt::format("{} hosts of {} job {}", hosts.size(), system, job),
          fmt::format("mpirun -n {}", hosts.size())};
}

}  // namespace

Launch launch_of_environment() {
  Launch launch;
  launch.rank = static_cast<int>(
      std::max(0L, number_of({"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"})));
  if (const long size = number_of({"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"}); size >= 0) {
    launch.ranks = static_cast<int>(std::max(1L, size));
    return launch;
  }
  // PMIx tells a rank its number but not the number of ranks; Slurm does.
  const long step_tasks = std::max(1L, number_of({"SLURM_STEP_NUM_TASKS"}));
  if (std::getenv("PMIX_RANK") != nullptr || std::getenv("PMI_RANK") != nullptr ||
      (step_tasks > 1 && std::getenv("SLURM_PROCID") != nullptr)) {
    launch.ranks = static_cast<int>(step_tasks);
  }
  if (launch.ranks == 0) launch.rank = 0;  // a batch script has SLURM_PROCID too
  return launch;
}

UnusedAllocation unused_allocation() {
  if (launch_of_environment().ranks > 0) return {};
  const UnusedAllocation slurm = slurm_allocation();
  return slurm.empty() ? other_allocation() : slurm;
}

}  // namespace eyrie::parallel
