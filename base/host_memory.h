// What this machine offers: its processors, and the memory that this process may use, as limited by
// the machine, its control groups (versions 1 and 2) and its Slurm job.
#pragma once

#include <cstdint>
#include <string>

#include "base/file.h"

namespace eyrie::base {

struct HostMemory {
  std::int64_t most = 0;  // bytes that all processes here may use together; 0: unknown
  std::int64_t left = 0;  // of these, not in use now (reclaimable memory counts as free)
  std::string limit;      // what sets `most`: "this machine", "its control group", "the Slurm job"
};

// `root`: where /proc and /sys are found, for tests.
HostMemory host_memory(const Path& root = "/");

// The number of processors of this machine, whatever this process is bound to, and the most threads
// that one process may ask for here. It may ask for more threads than processors, to repeat a
// larger machine's run on a small one.
int host_processors();
int most_threads();

}  // namespace eyrie::base
