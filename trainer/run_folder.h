// Checks that a run can write its files, before anything is computed.
#pragma once

#include "trainer/run_config.h"

namespace eyrie::trainer {

// For one rank. Throws InputError if the run's folder, or what is in it, cannot be created or
// written. Leaves nothing new behind.
void check_run_folder(const RunConfig& run);

}  // namespace eyrie::trainer
