// Tasks for people to read.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "text/task.h"

namespace eyrie::eval {

// Every group and task with its type, splits, default shots, metrics and data files, and whether
// these are there. The members of a group that come from one file are shown as one line.
std::string list_tasks(const text::TaskPlaces& places);

// One document as the model gets it: the whole prompt with its shots, every continuation, the right
// one marked. `shots`: in place of the task's own number. InputError: a group (names its tasks), no
// such document.
std::string show_document(const std::string& task, std::int64_t document, std::optional<int> shots,
                          const text::TaskPlaces& places);

}  // namespace eyrie::eval
