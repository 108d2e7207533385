// Checks runs against memory.
#include "planning/memory_limit.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/error.h"
#include "trainer/bytes.h"
#include "trainer/resolve_mesh.h"

namespace eyrie::planning {
namespace {

using parallel::MeshShape;
using trainer::bytes_text;

std::string parts_text(const RankMemory& memory) {
  std::vector<std::string> parts;
  for (const MemoryPart& part : memory_parts(memory))
    parts.push_back(fmt::format("{} {}", part.name, bytes_text(part.bytes)));
  return fmt::format("{}", fmt::join(parts, ", "));
}

// Returns meshes that fit, nearest first; of each arrangement of ranks the lowest ZeRO stage that
// fits.
std::vector<std::string> fitting(const RunConfig& run, const MeshShape& wanted, int ranks) {
  const auto passes = std::make_shared<PassPlans>(run.model);
  std::vector<std::string> found;
  for (MeshShape mesh : trainer::fitting_meshes(run, ranks, wanted)) {
    if (found.size() == 3) break;
    // Tries the run's own settings, higher ZeRO stages, and then sequence parallelism too.
    for (const bool sequence : {wanted.sequence, true}) {
      if (sequence && !wanted.sequence && mesh.tensor == 1) continue;
      bool fits = false;
      // In a shard group of one rank the ZeRO stage makes no difference.
      const int last = mesh.shard_group_size() > 1 ? 3 : wanted.zero;
      for (int zero = wanted.zero; zero <= last && !fits; ++zero) {
        mesh.zero = zero;
        mesh.sequence = sequence;
        const std::int64_t bytes = memory_needed(run, mesh, passes).all();
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
  const std::int64_t each = memory_needed(run, mesh).all();
  for (int more = ranks; more <= std::max(64, 4 * ranks); more *= 2) {
    if (each / more > run.memory_limit) continue;  // not even if everything were sharded
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

// Returns settings that make this mesh fit.
std::string settings(const RunConfig& run, const MeshShape& mesh) {
  std::string text;
  const auto try_with = [&](const RunConfig& changed, const char* name) {
    const std::int64_t bytes = memory_needed(changed, mesh).all();
    if (bytes <= run.memory_limit)
      text += fmt::format("With {} this mesh needs {}. ", name, bytes_text(bytes));
  };
  RunConfig changed = run;
  for (const auto& [recompute, name] : {std::pair{model::Recompute::kMlp, "recompute: [mlp]"},
                                        {model::Recompute::kBlocks, "recompute: blocks"}}) {
    changed.recompute = recompute;
    if (run.recompute < recompute && text.empty()) try_with(changed, name);
  }
  changed = run;
  changed.checkpoint_async = false;
  if (run.checkpoint_async) try_with(changed, "checkpoint.async: false");
  return text;
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

std::string check_host_memory(const RunConfig& run, const MeshShape& mesh,
                              const base::HostMemory& host, int ranks_here, bool elsewhere) {
  constexpr std::int64_t kMostOfAnyHost = std::int64_t{1} << 46;  // 64 TiB
  const RankMemory memory = memory_needed(run, mesh);
  const std::int64_t each = memory.all();
  const std::int64_t most = elsewhere || host.most == 0 ? kMostOfAnyHost : host.most;
  const std::string needed =
      ranks_here == 1
          ? fmt::format("a rank of {} needs {}", parallel::describe(mesh), bytes_text(each))
          : fmt::format("{} of {} on one host need {} each", base::counted(ranks_here, "rank"),
                        parallel::describe(mesh), bytes_text(each));
  const bool above = each > most / ranks_here;
  if (above && run.memory_limit == 0) {
    RunConfig limited = run;
    limited.memory_limit = most / ranks_here;
    throw base::InputError(
        fmt::format("{}, but {} has {}{}: {}. {}{}", needed,
                    most == host.most ? host.limit : "the largest host", bytes_text(most),
                    elsewhere ? "" : " of memory in all", parts_text(memory),
                    settings(limited, mesh), advice(limited, mesh)) +
        (elsewhere ? ""
                   : fmt::format(". More ranks go on more hosts: here each may have {}. A run for "
                                 "other hosts names what a rank may take there (memory_limit), "
                                 "which counts instead",
                                 bytes_text(limited.memory_limit))));
  }
  const std::string limit = run.memory_limit == 0 ? ""
                                                  : fmt::format(" (memory_limit {} allows it)",
                                                                bytes_text(run.memory_limit));
  if (above) {
    return fmt::format("{}{}, but {} has {} of memory in all", needed, limit, host.limit,
                       bytes_text(host.most));
  }
  if (host.most == 0) return "";
  if (elsewhere) {
    if (run.memory_limit > 0 || each <= host.most / ranks_here) return "";
    return fmt::format(
        "{}; this host has {} in all. Are those of the job larger? memory_limit makes "
        "a run that needs more an error",
        needed, bytes_text(host.most));
  }
  if (each <= host.left / ranks_here) return "";
  return fmt::format(
      "{}{}, but of the {} of {} only {} are free now; `eyrie plan` shows for what, "
      "and memory_limit makes such a run an error",
      needed, limit, bytes_text(host.most), host.limit, bytes_text(host.left));
}

trainer::PlannedMemory plan_memory(const RunConfig& run, const MeshShape& mesh, int ranks_here,
                                   bool elsewhere) {
  const base::HostMemory host = base::host_memory();
  const std::int64_t of_host = elsewhere ? 0 : host.most / ranks_here;
  const RunConfig planned =
      with_recompute(run, mesh, run.memory_limit > 0 ? run.memory_limit : of_host);
  check_memory(planned, mesh);
  return {memory_needed(planned, mesh).all(),
          check_host_memory(planned, mesh, host, ranks_here, elsewhere), planned.recompute};
}

}  // namespace eyrie::planning
