// What this machine gives: processors, and the memory that this process may use: of the machine, of
// the control groups that it is in (versions 1 and 2), and of its Slurm job.
#pragma once

#include <cstdint>
#include <string>

#include "base/file.h"

namespace eyrie::base {

struct HostMemory {
  std::int64_t most = 0;  // bytes that all processes here together can have; 0: not known
  std::int64_t left = 0;  // of these, not in use now (what the system can take back counts as free)
  std::string limit;      // what sets `most`: "this machine", "its control group", "the Slurm job"
};

// `root`: where /proc and /sys are found, for tests.
HostMemory host_memory(const Path& root = "/");

// The processors of this machine, whatever this process is bound to; and the threads of one process
// that may be asked for here: some more, to repeat on a small machine what ran on a larger one.
int host_processors();
int most_threads();

}  // namespace eyrie::base
