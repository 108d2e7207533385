// For commands that work on one rank, when a launcher started several.
#pragma once

#include <string>

namespace eyrie::cli {

// Returns true on every rank but rank 0 if the command works on only one rank. Rank 0 then logs
// once that it works alone.
bool is_idle_rank(const std::string& command);

// Warns if this process is the only one that uses a batch system's allocation of several tasks.
void warn_of_unused_allocation(const std::string& command);

}  // namespace eyrie::cli
