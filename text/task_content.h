// A hash of what a task's documents say, so that two editions of a benchmark under one name can be
// told apart.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "text/task.h"

namespace eyrie::text {

// The hash of one item's texts and its right answer, whatever its position in the file.
std::uint64_t content_of(const TaskItem& item);

// The hash of all items of a split, in any order: 16 hex digits. The second takes the items' own
// hashes.
std::string content_of(const std::vector<TaskItem>& items);
std::string content_of(std::vector<std::uint64_t> items);

// The hash of every split, by leaf task and then by split.
using TaskContents = std::map<std::string, std::map<std::string, std::string>>;

}  // namespace eyrie::text
