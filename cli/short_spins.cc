// Idle OpenMP threads spin for some ten milliseconds by default. Where another process wants their
// core, each parallel region then waits for a time slice: steps a hundred times as long were seen.
// A short spin covers the gaps between regions and gives the core away after that.
#include "cli/short_spins.h"

#include <unistd.h>

#include <cstdlib>

namespace eyrie::cli {

// libgomp reads its environment while it is loaded, so the program starts itself again with it.
void spin_shortly(char** argv) {
  if (std::getenv("OMP_WAIT_POLICY") != nullptr || std::getenv("GOMP_SPINCOUNT") != nullptr) return;
  ::setenv("GOMP_SPINCOUNT", "2000", 1);
  ::execv("/proc/self/exe", argv);  // comes back only where that cannot be done: then as it is
}

}  // namespace eyrie::cli
