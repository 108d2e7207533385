// A run against a cluster's partition.
#include "cli/slurm_checks.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/vfs.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

#include "base/error.h"
#include "base/listing.h"
#include "base/log.h"
#include "cli/plan_search.h"
#include "planning/plan.h"
#include "trainer/bytes.h"
#include "trainer/resolve_mesh.h"

namespace eyrie::cli {

slurm::Partition check_partition(slurm::Resources& resources) {
  const std::vector<slurm::Partition> all = slurm::partitions();
  const auto found = std::find_if(all.begin(), all.end(), [&](const slurm::Partition& one) {
    return resources.partition.empty() ? one.is_default : one.name == resources.partition;
  });
  if (found == all.end()) {
    std::vector<std::string> names;
    for (const slurm::Partition& one : all) names.push_back(one.name);
    throw base::InputError(
        resources.partition.empty()
            ? fmt::format("this cluster has no default partition: give --partition, one of {}",
                          fmt::join(names, ", "))
            : fmt::format("--partition {}: this cluster has {}", resources.partition,
                          fmt::join(names, ", ")));
  }
  if (!found->is_up) throw base::InputError(fmt::format("partition {} is down", found->name));
  if (found->nodes < resources.most_nodes)
    throw base::InputError(fmt::format("--nodes {}: partition {} has {}", resources.most_nodes,
                                       found->name, base::counted(found->nodes, "node")));
  const int cpus = resources.tasks_per_node * resources.cpus_per_task;
  if (found->cpus < cpus) {
    throw base::InputError(fmt::format(
        "--tasks-per-node {} × --cpus-per-task {} are {} processors, and nodes of partition {} "
        "have {}",
        resources.tasks_per_node, resources.cpus_per_task, cpus, found->name, found->cpus));
  }
  if (!resources.time.empty()) {
    const auto seconds = slurm::seconds_of(resources.time);
    if (!seconds || *seconds == 0)
      throw base::InputError(
          fmt::format("--time {}: as Slurm writes it, 12:00:00 (hours) or 2-12 (days and hours)",
                      resources.time));
    if (found->time_limit > 0 && (*seconds < 0 || *seconds > found->time_limit))
      throw base::InputError(fmt::format("--time {}: partition {} allows {}", resources.time,
                                         found->name, slurm::time_text(found->time_limit)));
    if (*seconds > 0 && *seconds <= resources.signal_seconds)
      throw base::InputError(
          fmt::format("--time {} is not longer than --signal {} seconds: a job would save and end "
                      "as soon as it begins",
                      resources.time, resources.signal_seconds));
  }
  if (resources.time.empty())
    resources.time =
        found->time_limit > 0 ? slurm::time_text(found->time_limit) : std::string("24:00:00");
  return *found;
}

std::vector<int> fitting_node_counts(const trainer::RunConfig& run,
                                     const slurm::Resources& resources) {
  std::vector<int> fitting;
  std::string why;
  for (int nodes = resources.least_nodes; nodes <= resources.most_nodes; ++nodes) {
    try {
      trainer::resolve_mesh(run, nodes * resources.tasks_per_node, nodes);
      fitting.push_back(nodes);
    } catch (const base::InputError& error) {
      why = error.what();
    }
  }
  if (fitting.empty()) throw base::InputError(why);
  if (fitting.back() != resources.most_nodes || fitting.front() != resources.least_nodes)
    base::log_warning(fmt::format("of {} to {} nodes, {} fit the run's mesh: {}",
                                  resources.least_nodes, resources.most_nodes,
                                  fmt::join(fitting, ", "), why));
  return fitting;
}

void check_memory_of_nodes(const trainer::RunConfig& run, slurm::Resources& resources,
                           const slurm::Partition& partition) {
  std::int64_t rank = 0;  // fewer nodes may need more memory for each of their ranks
  for (const int nodes : resources.node_counts) {
    const auto mesh = trainer::resolve_mesh(run, nodes * resources.tasks_per_node, nodes);
    const auto decided = planning::with_recompute(run, mesh, run.memory_limit);
    rank = std::max(rank, planning::memory_needed(decided, mesh).all());
  }
  const std::int64_t node = rank * resources.tasks_per_node;
  constexpr std::int64_t kMega = 1 << 20;
  // The program itself, MPI and what evaluation and reading of data need come on top.
  constexpr std::int64_t kRest = 256 * kMega;
  resources.memory_mb = (node + node / 10 + kRest * resources.tasks_per_node) / kMega + 1;
  if (partition.memory_mb > 1 && node / kMega > partition.memory_mb) {
    throw base::InputError(fmt::format(
        "a node's {} need {} of memory ({} each), and nodes of partition {} have {}: take more "
        "nodes or fewer ranks per node, more tensor or ZeRO sharding, or `recompute: auto` "
        "(eyrie plan {} lists meshes)",
        base::counted(resources.tasks_per_node, "rank"), trainer::bytes_text(node),
        trainer::bytes_text(rank), partition.name, trainer::bytes_text(partition.memory_mb * kMega),
        run.directory));
  }
  if (partition.memory_mb > 1)
    resources.memory_mb = std::min(resources.memory_mb, partition.memory_mb);
}

void check_time(const trainer::RunConfig& run, const slurm::Resources& resources,
                const std::string& machine_file) {
  const auto compute = run.bf16 ? tensor::DType::kBFloat16 : tensor::DType::kFloat32;
  const planning::Machine machine = machine_file.empty() ? planning::measure_machine(compute)
                                                         : planning::read_machine(machine_file);
  const int nodes = resources.node_counts.back();
  const auto mesh = trainer::resolve_mesh(run, nodes * resources.tasks_per_node, nodes);
  const double limit = static_cast<double>(*slurm::seconds_of(resources.time));
  const double usable = limit - static_cast<double>(resources.signal_seconds);
  for (const trainer::StageConfig& stage : run.stages) {
    const planning::MeshPlan plan(run.model, planning::step_shape(run, stage, mesh));
    const double step = planning::step_time(run, plan, machine).all();
    const double seconds = step * static_cast<double>(stage.steps);
    base::log_info(fmt::format(
        "stage {}: about {} on {} ({} a step), {}validation and evaluation on top", stage.name,
        duration_text(seconds), base::counted(nodes, "node"), seconds_text(step),
        limit > 0 && seconds > usable
            ? fmt::format("{:.0f} starts of {}, ", std::ceil(seconds / usable), resources.time)
            : ""));
    if (limit < 0) continue;
    if (step > usable)
      throw base::InputError(fmt::format(
          "--time {}: one step of stage {} takes about {}, so no start would get anywhere",
          resources.time, stage.name, seconds_text(step)));
    if (seconds > 20 * usable)
      base::log_warning(fmt::format(
          "stage {} takes about {} starts of {}: each waits in the queue, and reads and writes a "
          "checkpoint. A longer --time or more nodes would be better",
          stage.name, std::ceil(seconds / usable), resources.time));
    if (limit > 3600 && seconds * 10 < limit)
      base::log_warning(fmt::format(
          "--time {} is more than ten times what stage {} needs (about {}): a shorter limit waits "
          "less in most queues",
          resources.time, stage.name, duration_text(seconds)));
  }
}

void check_shared_folder(const base::Path& directory, const slurm::Resources& resources) {
  base::Path there = directory;
  while (!base::is_there(there) && there.has_relative_path()) there = there.parent_path();
  struct statfs system {};
  if (statfs(there.c_str(), &system) != 0) return;
  // tmpfs, ext2 to 4, XFS, Btrfs, overlayfs: none of them is seen by two machines.
  constexpr std::array<std::uint64_t, 5> kLocal = {0x01021994, 0xEF53, 0x58465342, 0x9123683E,
                                                   0x794c7630};
  const bool local = std::find(kLocal.begin(), kLocal.end(),
                               static_cast<std::uint64_t>(system.f_type)) != kLocal.end();
  if (local && resources.most_nodes > 1)
    base::log_warning(fmt::format(
        "{} is on a local file system of this machine, as far as can be seen: every node must see "
        "the run's folder under this name, or the job will be refused when it starts",
        directory.string()));
}

}  // namespace eyrie::cli
