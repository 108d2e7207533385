// Whether a checkpoint's training data was screened for the tasks that it is evaluated on.
#pragma once

#include <string>
#include <vector>

#include "text/task_content.h"

namespace eyrie::trainer {

// `run`: the training's configuration as YAML, as a checkpoint stores it. `tasks`: the evaluated
// tasks. Returns a line for each folder of shards that still exists where the run found it and that
// was not screened for some task, or only for another edition of it.
std::vector<std::string> screening_warnings(const std::string& run,
                                            const text::TaskContents& tasks);

}  // namespace eyrie::trainer
