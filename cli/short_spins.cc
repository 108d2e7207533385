// Idle OpenMP threads spin for about ten milliseconds by default. If another process needs their
// core, each parallel region then waits for a time slice, which made steps up to a hundred times as
// long. A short spin covers the gaps between regions and frees the core after that.
#include "cli/short_spins.h"

#include <unistd.h>

#include <cstdlib>

namespace eyrie::cli {

// libgomp reads its environment when it is loaded, so the program sets it and starts itself again.
void spin_shortly(char** argv) {
  if (std::getenv("OMP_WAIT_POLICY") != nullptr || std::getenv("GOMP_SPINCOUNT") != nullptr) return;
  ::setenv("GOMP_SPINCOUNT", "2000", 1);
  ::execv("/proc/self/exe", argv);  // returns only on failure; the defaults then stay
}

}  // namespace eyrie::cli
