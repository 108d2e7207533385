// Idle OpenMP threads spin for some ten milliseconds by default. Where another process wants their core, each parallel
// region then waits for a time slice: steps a hundred times as long were seen. A short spin covers the gaps between
// regions and gives the core away after that. libgomp reads its environment while it is loaded, so this must be set
// before: in .preinit_array, which runs first.
#include <cstdlib>

namespace {

void spin_shortly(int /*argc*/, char** /*argv*/, char** /*environment*/) {
  if (std::getenv("OMP_WAIT_POLICY") == nullptr) ::setenv("GOMP_SPINCOUNT", "2000", 0);
}

[[gnu::section(".preinit_array"), gnu::used]] void (*const before_all)(int, char**, char**) =
    spin_shortly;

}  // namespace
