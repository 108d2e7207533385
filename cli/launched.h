// What a command that works on one rank does where a launcher started it on several.
#pragma once

#include <string>

namespace eyrie::cli {

// Whether this process is one of several and not the one that does the command's work. Says once,
// on rank 0, that it works alone.
bool is_left_to_rank_0(const std::string& command);

// A warning where a batch system's allocation of several tasks is used by this process alone.
void warn_of_unused_allocation(const std::string& command);

}  // namespace eyrie::cli
