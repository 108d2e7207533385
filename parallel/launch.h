// How this process was started, by what launchers and batch systems leave in the environment.
// Nothing here starts MPI.
#pragma once

#include <string>

namespace eyrie::parallel {

// One process of those that a launcher (mpirun, srun) started together.
struct Launch {
  int ranks = 0;  // 0: no launcher, or one that started this process alone and told it nothing
  int rank = 0;
};
Launch launch_of_environment();

// The batch system's allocation that this process runs in and was not launched over: "8 tasks on 2
// nodes of Slurm job 4711", with what starts a rank on each of them ("srun --mpi=pmix"). Empty
// where there is none, where one rank is all that was asked for, or where a launcher started this
// process.
struct UnusedAllocation {
  std::string what, launcher;
  bool empty() const { return what.empty(); }
};
UnusedAllocation unused_allocation();

}  // namespace eyrie::parallel
