// Identifies this process, so that another one can tell later whether it is still alive: host,
// machine (the kernel's boot id and PID namespace), pid and start time.
#pragma once

#include <cstdint>
#include <string>

namespace eyrie::base {

struct ProcessName {
  std::string host;     // for people
  std::string machine;  // equal only where pids mean the same
  std::int64_t pid = 0;
  std::int64_t start = 0;  // clock ticks since boot: differs if the pid was reused
  bool operator==(const ProcessName&) const = default;
};

ProcessName this_process();

// Converts to one line without blanks at its ends, and back. An invalid line gives pid 0.
std::string to_line(const ProcessName& process);
ProcessName process_from_line(const std::string& line);

bool on_this_machine(const ProcessName& process);
// For a process on this machine. A stopped process is alive, one that waits to be reaped is not.
bool is_alive(const ProcessName& process);

}  // namespace eyrie::base
