// Where time goes: while recording is on, tensor/ops/dispatch.cc adds up the wall time of every
// operation it sends to a device. One table per process; off by default.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace eyrie::tensor {

struct OperationTime {
  std::string name;  // the function's; of a product also what it multiplies, "matmul 8x4x2 a^T +="
  std::int64_t calls = 0;
  double seconds = 0;
};

// Clears the table and switches recording on or off.
void record_operation_times(bool on);
bool recording_operation_times();
void add_operation_time(const std::string& name, double seconds);

// What was recorded since, the longest first.
std::vector<OperationTime> operation_times();

}  // namespace eyrie::tensor
