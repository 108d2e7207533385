// How long idle threads wait for work before they sleep.
#pragma once

namespace eyrie::cli {

// Unless the user's environment says it (OMP_WAIT_POLICY, GOMP_SPINCOUNT): shortly. Before anything
// else in main().
void spin_shortly(char** argv);

}  // namespace eyrie::cli
