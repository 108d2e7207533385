// Cores, and how the ranks of a host share them.
#include "tensor/cores.h"

#include <sched.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <thread>

#include <fmt/format.h>

#include "base/error.h"
#include "tensor/threads.h"

namespace eyrie::tensor {

std::vector<int> core_list() {
  std::vector<int> list;
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) {
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
      if (CPU_ISSET(cpu, &set)) list.push_back(cpu);
  }
  if (list.empty()) {  // more CPUs than cpu_set_t can hold
    for (int cpu = 0; cpu < std::max(static_cast<int>(std::thread::hardware_concurrency()), 1);
         ++cpu)
      list.push_back(cpu);
  }
  return list;
}

std::optional<int> threads_of_environment() {
  constexpr long kMost = 1024;
  if (const char* set = std::getenv("EYRIE_THREADS"); set != nullptr && *set != '\0') {
    char* end = nullptr;
    const long threads = std::strtol(set, &end, 10);
    if (*end == '\0' && threads >= 1 && threads <= kMost) return static_cast<int>(threads);
    throw base::InputError(fmt::format(
        "EYRIE_THREADS={} in the environment: the threads of a rank, from 1 to {}", set, kMost));
  }
  if (const char* set = std::getenv("OMP_NUM_THREADS")) {
    const long threads = std::strtol(set, nullptr, 10);
    if (threads >= 1 && threads <= kMost) return static_cast<int>(threads);
  }
  return {};
}

int share_of_cores(const std::vector<int>& mine, const std::vector<std::vector<int>>& ranks) {
  std::map<int, int> users;
  for (const std::vector<int>& rank : ranks)
    for (const int core : rank) ++users[core];
  double share = 0;
  for (const int core : mine) share += 1.0 / std::max(users[core], 1);
  return std::max(1, static_cast<int>(share + 1e-6));
}

void use_threads(std::int64_t configured) {
  set_thread_count(configured > 0 ? static_cast<int>(configured)
                                  : threads_of_environment().value_or(cores()));
}

}  // namespace eyrie::tensor
