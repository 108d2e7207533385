// The threads of a rank: how many, and whether that many make sense.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <sstream>

#include "base/error.h"
#include "base/host_memory.h"
#include "parallel/health/host_status.h"
#include "tensor/cores.h"
#include "trainer/trainer.h"

namespace eyrie::trainer {

int threads_for(std::int64_t configured, parallel::Communicator& world) {
  if (configured > 0) return static_cast<int>(configured);
  // Each rank's host and cores: launchers bind ranks to their own cores, or let all ranks use all.
  const std::vector<int> mine = tensor::core_list();
  const std::string host = parallel::kernel_key();
  std::vector<std::vector<int>> beside;
  for (const std::string& rank :
       world.all_gather(fmt::format("{}\n{}", host, fmt::join(mine, " ")))) {
    const std::size_t border = rank.find('\n');
    if (rank.substr(0, border) != host) continue;
    std::istringstream numbers(rank.substr(border + 1));
    beside.emplace_back();
    for (int core = 0; numbers >> core;) beside.back().push_back(core);
  }
  return tensor::threads_of_environment().value_or(tensor::share_of_cores(mine, beside));
}

std::string check_threads(const RunConfig& run, bool check_only) {
  const int there = base::host_processors();
  if (run.threads <= there) return "";
  const std::string message = fmt::format("{} threads of a rank, but this machine has {}",
                                          run.threads, base::counted(there, "processor"));
  if (run.threads > base::most_threads() && !check_only)
    throw run.error("threads", message + "; write auto, or at most that");
  return "threads: " + message;
}

}  // namespace eyrie::trainer
