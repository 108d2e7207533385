// The memory limit.
#include "trainer/memory_limit.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <fstream>

#include "base/error.h"
#include "trainer/bytes.h"
#include "trainer/fit_mesh.h"

namespace eyrie::trainer {
namespace {

using parallel::MeshShape;

std::string parts_text(const RankMemory& memory) {
  std::vector<std::string> parts;
  for (const MemoryPart& part : memory_parts(memory))
    parts.push_back(fmt::format("{} {}", part.name, bytes_text(part.bytes)));
  return fmt::format("{}", fmt::join(parts, ", "));
}

// The nearest first; of one arrangement of ranks the lowest stage of ZeRO that fits.
std::vector<std::string> fitting(const RunConfig& run, const MeshShape& wanted, int ranks) {
  std::vector<std::string> found;
  for (MeshShape mesh : fitting_meshes(run, ranks, wanted)) {
    if (found.size() == 3) break;
    // The run's own choices, more sharding, and the sequence split over tensor ranks as well.
    for (const bool sequence : {wanted.sequence, true}) {
      if (sequence && !wanted.sequence && mesh.tensor == 1) continue;
      bool fits = false;
      // Without ranks to share with, its stage makes no difference.
      const int last = mesh.sharers() > 1 ? 3 : wanted.zero;
      for (int zero = wanted.zero; zero <= last && !fits; ++zero) {
        mesh.zero = zero;
        mesh.sequence = sequence;
        const std::int64_t bytes = memory_needed(run, mesh).all();
        fits = bytes <= run.memory_limit;
        if (fits)
          found.push_back(fmt::format("{} ({})", parallel::describe(mesh), bytes_text(bytes)));
      }
      if (fits) break;
    }
  }
  return found;
}

std::string advice(const RunConfig& run, const MeshShape& mesh) {
  const int ranks = mesh.ranks();
  for (int more = ranks; more <= std::max(64, 4 * ranks); more *= 2) {
    const auto found = fitting(run, mesh, more);
    if (found.empty()) continue;
    return more == ranks ? fmt::format("The nearest meshes of {} that fit: {}",
                                       base::counted(ranks, "rank"), fmt::join(found, "; "))
                         : fmt::format("No mesh of {} fits; of {} ranks: {}",
                                       base::counted(ranks, "rank"), more, fmt::join(found, "; "));
  }
  return "No mesh that fits was found: shorter sequences, a smaller batch_sequences / micro_shards "
         "or a smaller model need less";
}

// Settings that make this mesh fit.
std::string settings(const RunConfig& run, const MeshShape& mesh) {
  std::string text;
  const auto try_with = [&](const RunConfig& changed, const char* name) {
    const std::int64_t bytes = memory_needed(changed, mesh).all();
    if (bytes <= run.memory_limit)
      text += fmt::format("With {} this mesh needs {}. ", name, bytes_text(bytes));
  };
  RunConfig changed = run;
  changed.recompute = true;
  if (!run.recompute) try_with(changed, "recompute: blocks");
  changed = run;
  changed.checkpoint_async = false;
  if (run.checkpoint_async) try_with(changed, "checkpoint.async: false");
  return text;
}

// Bytes that the host, or the job's share of it, has left; 0: not known.
std::int64_t free_bytes() {
  std::int64_t available = 0;
  std::ifstream info("/proc/meminfo");
  for (std::string line; std::getline(info, line);) {
    if (line.starts_with("MemAvailable:"))
      available = std::strtoll(line.c_str() + 13, nullptr, 10) * 1024;
  }
  std::int64_t most = 0, used = 0;
  std::ifstream("/sys/fs/cgroup/memory.max") >> most;
  std::ifstream("/sys/fs/cgroup/memory.current") >> used;
  if (most > 0) available = std::min(available, std::max<std::int64_t>(0, most - used));
  return available;
}

}  // namespace

void check_memory(const RunConfig& run, const MeshShape& mesh) {
  if (run.memory_limit == 0) return;
  const RankMemory memory = memory_needed(run, mesh);
  if (memory.all() <= run.memory_limit) return;
  throw base::InputError(fmt::format("memory_limit is {}, but a rank of {} would need {}: {}. {}{}",
                                     bytes_text(run.memory_limit), parallel::describe(mesh),
                                     bytes_text(memory.all()), parts_text(memory),
                                     settings(run, mesh), advice(run, mesh)));
}

std::string memory_warning(const RunConfig& run, const MeshShape& mesh, int ranks_here) {
  if (run.memory_limit != 0) return "";
  const std::int64_t left = free_bytes(), needed = memory_needed(run, mesh).all();
  if (left == 0 || needed <= left / ranks_here) return "";
  return fmt::format(
      "this host has {} of memory left, but {} of {} may need {} each; `eyrie plan` shows for "
      "what, "
      "and memory_limit makes such a run an error",
      bytes_text(left), base::counted(ranks_here, "rank"), parallel::describe(mesh),
      bytes_text(needed));
}

}  // namespace eyrie::trainer
