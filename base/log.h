// Logging: one line per message, with time and rank, to stderr (rank 0; warnings and errors of
// every rank) and to the rank's file once there is a run directory. Thread-safe.
#pragma once

#include <string>

namespace eyrie::base {

void log_info(const std::string& message);  // stderr on rank 0 or outside a job; every rank's file
void log_warning(const std::string& message);  // stderr on every rank
void log_error(const std::string& message);    // stderr on every rank

// From now on every message of this process also goes to DIR/rank-0000.log (appended; the folder is
// created).
void log_to_directory(const std::string& directory, int rank);
void flush_logs();

}  // namespace eyrie::base
