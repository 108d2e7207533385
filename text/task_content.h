// What the documents of a task say, as a hash: two editions of a benchmark under one name differ in
// it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "text/task.h"

namespace eyrie::text {

// Of one item's texts and its right answer; where it stands in its file does not count.
std::uint64_t content_of(const TaskItem& item);

// Of all items of a split, in whatever order: 16 hex digits. The second from the items' own hashes.
std::string content_of(const std::vector<TaskItem>& items);
std::string content_of(std::vector<std::uint64_t> items);

// By split, and that by leaf task.
using TaskContents = std::map<std::string, std::map<std::string, std::string>>;

}  // namespace eyrie::text
