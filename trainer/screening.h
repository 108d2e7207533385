// Whether what a checkpoint was trained on was screened for the tasks that it is evaluated on.
#pragma once

#include <string>
#include <vector>

#include "text/task_content.h"

namespace eyrie::trainer {

// `run`: the configuration of the training as YAML, as a checkpoint keeps it. `tasks`: what is
// evaluated. A line for each folder of shards that still lies where the run found it and was
// screened for none or another edition of some task.
std::vector<std::string> screening_warnings(const std::string& run,
                                            const text::TaskContents& tasks);

}  // namespace eyrie::trainer
