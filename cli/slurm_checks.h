// What `eyrie slurm submit` checks beyond `eyrie train --check`: the run against the cluster.
#pragma once

#include <string>
#include <vector>

#include "base/file.h"
#include "slurm/job_script.h"
#include "slurm/queue.h"
#include "trainer/run_config.h"

namespace eyrie::cli {

// Returns the partition that the job will be in, with what it offers. Throws InputError if there is
// none of this name, if it is down, or has fewer or smaller nodes or a shorter time limit than
// asked for. Sets the time where none was asked for: the partition's limit, or a day.
slurm::Partition check_partition(slurm::Resources& resources);

// Returns the numbers of nodes in the range asked for whose ranks fit the run's mesh. Throws
// InputError if none does.
std::vector<int> fitting_node_counts(const trainer::RunConfig& run,
                                     const slurm::Resources& resources);

// Sets resources.memory_mb to what the ranks of a node need, and a tenth. Throws InputError if the
// partition's nodes have less.
void check_memory_of_nodes(const trainer::RunConfig& run, slurm::Resources& resources,
                           const slurm::Partition& partition);

// Compares the plan's time with the time limit: says how many starts each stage will take, and
// warns if that is many, or if the limit is far longer than the stage. `machine`: a file, or "" to
// measure this machine.
void check_time(const trainer::RunConfig& run, const slurm::Resources& resources,
                const std::string& machine);

// Warns if the run's folder is on a file system that only this machine has.
void check_shared_folder(const base::Path& directory, const slurm::Resources& resources);

}  // namespace eyrie::cli
