// How this process was started, according to the environment variables of launchers and batch
// systems. Nothing here starts MPI.
#pragma once

#include <string>

namespace eyrie::parallel {

// This process among those that a launcher (mpirun, srun) started together.
struct Launch {
  int ranks = 0;  // 0: no launcher, or one that started only this process and set no variables
  int rank = 0;
};
Launch launch_of_environment();

// The batch system's allocation, if this process runs in it without having been launched on all of
// it: "8 tasks on 2 nodes of Slurm job 4711", and the command that starts one rank per task ("srun
// --mpi=pmix"). Empty if there is none, if only one rank was requested, or if a launcher started
// this process.
struct UnusedAllocation {
  std::string what, launcher;
  bool empty() const { return what.empty(); }
};
UnusedAllocation unused_allocation();

// MPI's own name and version, as "Open MPI v4.1.4".
std::string library_version();

}  // namespace eyrie::parallel
