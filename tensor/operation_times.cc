// The table of times per operation.
#include "tensor/operation_times.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>

namespace eyrie::tensor {
namespace {

std::atomic<bool> recording = false;
std::mutex mutex;
std::map<std::string, OperationTime> table;

}  // namespace

void record_operation_times(bool on) {
  const std::lock_guard lock(mutex);
  table.clear();
  recording = on;
}

bool recording_operation_times() { return recording.load(std::memory_order_relaxed); }

void add_operation_time(const std::string& name, double seconds) {
  const std::lock_guard lock(mutex);
  OperationTime& entry = table[name];
  entry.name = name;
  ++entry.calls;
  entry.seconds += seconds;
}

std::vector<OperationTime> operation_times() {
  const std::lock_guard lock(mutex);
  std::vector<OperationTime> times;
  for (const auto& [name, entry] : table) times.push_back(entry);
  std::stable_sort(times.begin(), times.end(),
                   [](const auto& a, const auto& b) { return a.seconds > b.seconds; });
  return times;
}

}  // namespace eyrie::tensor
