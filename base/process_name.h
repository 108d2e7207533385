// Which process this is, so that another one can tell later whether it still lives: host, machine
// (the kernel's boot and its space of process numbers), number, and the moment of its start.
#pragma once

#include <cstdint>
#include <string>

namespace eyrie::base {

struct ProcessName {
  std::string host;     // for people
  std::string machine;  // equal only where the process number means the same
  std::int64_t pid = 0;
  std::int64_t start = 0;  // clock ticks after the boot: a number that was used again differs
  bool operator==(const ProcessName&) const = default;
};

ProcessName this_process();

// One line without blanks at its ends, and back. A line that is none has pid 0.
std::string to_line(const ProcessName& process);
ProcessName process_from_line(const std::string& line);

bool on_this_machine(const ProcessName& process);
// Of one on this machine. A stopped process lives, one that only waits to be reaped does not.
bool is_alive(const ProcessName& process);

}  // namespace eyrie::base
