// What a run will write, tried before anything is computed.
#pragma once

#include "trainer/run_config.h"

namespace eyrie::trainer {

// On one rank. InputError: the run's folder, or what lies in it, cannot be made or written. Leaves
// nothing that was not there.
void check_run_folder(const RunConfig& run);

}  // namespace eyrie::trainer
