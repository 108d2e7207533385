// Limits how long idle threads spin before they sleep.
#pragma once

namespace eyrie::cli {

// Makes idle OpenMP threads spin only briefly, unless the user's environment sets it
// (OMP_WAIT_POLICY, GOMP_SPINCOUNT). Call it at the start of main().
void spin_shortly(char** argv);

}  // namespace eyrie::cli
