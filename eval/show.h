// Shows tasks and documents in readable form.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "text/task.h"

namespace eyrie::eval {

// Lists every group and task with its type, splits, default number of shots, metrics and data
// files, and whether these exist. Members of a group that come from one file are shown as one line.
std::string list_tasks(const text::TaskPlaces& places);

// Shows one document as the model gets it: the whole prompt with its shots and every continuation,
// with the right one marked. `shots` overrides the task's own number. Throws InputError at a group
// (the message names its tasks) or a document that does not exist.
std::string show_document(const std::string& task, std::int64_t document, std::optional<int> shots,
                          const text::TaskPlaces& places);

}  // namespace eyrie::eval
