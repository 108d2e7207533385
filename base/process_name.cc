// Identifies processes through /proc.
#include "base/process_name.h"

#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <sstream>

#include <fmt/format.h>

#include "base/file.h"

namespace eyrie::base {
namespace {

struct Status {
  char state = 0;  // 0: unknown
  std::int64_t start = 0;
};

// Reads /proc/PID/stat. Its second field, the program's name in parentheses, may contain anything.
Status status_of(std::int64_t pid) {
  std::ifstream file(fmt::format("/proc/{}/stat", pid));
  std::string line;
  std::getline(file, line);
  const std::size_t name = line.rfind(')');
  if (name == std::string::npos) return {};
  std::istringstream fields(line.substr(name + 1));
  Status status;
  fields >> status.state;
  std::string field;
  for (int number = 4; number < 22; ++number) fields >> field;
  fields >> status.start;
  return status;
}

std::string machine() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string boot;
  std::getline(file, boot);
  if (boot.empty()) boot = host_name();
  char space[128] = "";
  const ssize_t length = ::readlink("/proc/self/ns/pid", space, sizeof space - 1);
  return boot + "/" + std::string(space, length > 0 ? static_cast<std::size_t>(length) : 0);
}

}  // namespace

ProcessName this_process() {
  return {host_name(), machine(), ::getpid(), status_of(::getpid()).start};
}

std::string to_line(const ProcessName& process) {
  return fmt::format("{} {} {} {}", process.host, process.machine, process.pid, process.start);
}

ProcessName process_from_line(const std::string& line) {
  std::istringstream fields(line);
  ProcessName process;
  fields >> process.host >> process.machine >> process.pid >> process.start;
  if (!fields) process.pid = 0;
  return process;
}

bool on_this_machine(const ProcessName& process) { return process.machine == machine(); }

bool is_alive(const ProcessName& process) {
  if (process.pid <= 0) return false;
  if (::kill(static_cast<pid_t>(process.pid), 0) != 0 && errno == ESRCH) return false;
  const Status status = status_of(process.pid);
  if (status.state == 0) return true;  // exists, but cannot be inspected
  if (status.state == 'Z' || status.state == 'X') return false;
  return status.start == process.start;
}

}  // namespace eyrie::base
