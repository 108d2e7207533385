// Reads /proc/meminfo, control groups and Slurm's environment.
#include "base/host_memory.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <vector>

#include "base/number.h"

namespace eyrie::base {
namespace {

// Returns the number after `name` in a file of "name number" lines. If `name` is "", the file is a
// single number. −1: none.
std::int64_t number_in(const Path& path, const std::string& name) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string word;
    if (!name.empty() && !(words >> word && word == name)) continue;
    std::int64_t value = -1;
    return words >> value ? value : -1;
  }
  return -1;
}

struct Group {
  std::int64_t most, used;
};

// Reads one directory of a control group; `most` is −1 if it has no limit.
Group group_at(const Path& folder, bool second_version) {
  const std::int64_t most =
      number_in(folder / (second_version ? "memory.max" : "memory.limit_in_bytes"), "");
  const std::int64_t used =
      number_in(folder / (second_version ? "memory.current" : "memory.usage_in_bytes"), "");
  // Cached files count as used but are dropped when memory is needed.
  const std::int64_t cached =
      number_in(folder / "memory.stat", second_version ? "inactive_file" : "total_inactive_file");
  return {most, std::max<std::int64_t>(0, used - std::max<std::int64_t>(0, cached))};
}

// The directories of this process's control groups and of all groups above them.
std::vector<std::pair<Path, bool>> group_folders(const Path& root) {
  std::vector<std::pair<Path, bool>> folders;
  std::ifstream file(root / "proc/self/cgroup");  // "0::/a/b", "4:memory:/a/b"
  for (std::string line; std::getline(file, line);) {
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string kinds = "," + line.substr(first + 1, second - first - 1) + ",";
    const bool v2 = kinds == ",,";
    if (!v2 && kinds.find(",memory,") == std::string::npos) continue;
    const Path top = root / (v2 ? "sys/fs/cgroup" : "sys/fs/cgroup/memory");
    // In a container the path may be the host's; then only the container's own top directory
    // exists.
    Path below = Path(line.substr(second + 1)).relative_path();
    for (; !below.empty(); below = below.parent_path()) folders.emplace_back(top / below, v2);
    folders.emplace_back(top, v2);
  }
  return folders;
}

// The megabytes in an environment variable, as bytes; 0: not set, or Slurm's "all there is".
std::int64_t megabytes(const char* variable) {
  const char* text = std::getenv(variable);
  const auto value = text == nullptr ? std::nullopt : parse_whole(text);
  return value && *value > 0 && *value < (std::int64_t{1} << 40) ? *value << 20 : 0;
}

std::int64_t slurm_limit() {
  if (std::getenv("SLURM_JOB_ID") == nullptr) return 0;
  if (const std::int64_t node = megabytes("SLURM_MEM_PER_NODE"); node > 0) return node;
  const char* cpus = std::getenv("SLURM_CPUS_ON_NODE");
  const auto count = cpus == nullptr ? std::nullopt : parse_whole(cpus);
  return count && *count > 0 && *count < (1 << 20) ? megabytes("SLURM_MEM_PER_CPU") * *count : 0;
}

}  // namespace

HostMemory host_memory(const Path& root) {
  HostMemory memory;
  const Path info = root / "proc/meminfo";
  const std::int64_t total = number_in(info, "MemTotal:"), left = number_in(info, "MemAvailable:");
  if (total > 0) memory = {total * 1024, std::max<std::int64_t>(0, left) * 1024, "this machine"};
  const auto limit = [&](std::int64_t most, std::int64_t used, const char* name) {
    if (most <= 0 || (memory.most > 0 && most >= memory.most)) return;
    const std::int64_t free = std::max<std::int64_t>(0, most - used);
    memory.left = memory.most > 0 ? std::min(memory.left, free) : free;
    memory.most = most;
    memory.limit = name;
  };
  for (const auto& [folder, second_version] : group_folders(root)) {
    const Group group = group_at(folder, second_version);
    limit(group.most, group.used, "its control group");
  }
  limit(slurm_limit(), 0, "the Slurm job");
  return memory;
}

int host_processors() { return std::max(1, static_cast<int>(::sysconf(_SC_NPROCESSORS_ONLN))); }

int most_threads() { return std::max(64, 4 * host_processors()); }

}  // namespace eyrie::base
