// Sends an operation to the device of its operands, and records its time where times are wanted.
#pragma once

#include <fmt/format.h>

#include <chrono>
#include <string>
#include <utility>

#include "base/error.h"
#include "tensor/operation_times.h"
#include "tensor/tensor.h"

namespace eyrie::tensor {

// Measures one operation from here to the end of the scope, if times are recorded.
class Timed {
 public:
  explicit Timed(const char* name) {
    if (!recording_operation_times()) return;
    name_ = name;
    start_ = Clock::now();
  }
  ~Timed() {
    if (name_.empty()) return;
    const std::chrono::duration<double> taken = Clock::now() - start_;
    add_operation_time(name_, taken.count());
  }
  Timed(const Timed&) = delete;
  Timed& operator=(const Timed&) = delete;

 private:
  using Clock = std::chrono::steady_clock;
  std::string name_;
  Clock::time_point start_;
};

// Calls the implementation for the device that `operand` is on; on meta returns `otherwise`.
template <class Value, class... Parameters, class... Arguments>
Value run_for(const char* name, Value otherwise, const Tensor& operand,
              Value (*on_cpu)(Parameters...), Arguments&&... arguments) {
  if (operand.device() == Device::kMeta) return otherwise;
  if (operand.device() == Device::kCuda) throw base::Error("this build of Eyrie has no CUDA");
  const Timed timed(name);
  return on_cpu(std::forward<Arguments>(arguments)...);
}

// The same for an operation that returns nothing.
template <class... Parameters, class... Arguments>
void run(const char* name, const Tensor& operand, void (*on_cpu)(Parameters...),
         Arguments&&... arguments) {
  if (operand.device() == Device::kMeta) return;
  if (operand.device() == Device::kCuda) throw base::Error("this build of Eyrie has no CUDA");
  const Timed timed(name);
  on_cpu(std::forward<Arguments>(arguments)...);
}

inline void check_same_shape(const char* operation, const Tensor& a, const Tensor& b) {
  EYRIE_CHECK(
      a.rows() == b.rows() && a.columns() == b.columns(),
      fmt::format("{}: {}x{} and {}x{}", operation, a.rows(), a.columns(), b.rows(), b.columns()));
}

}  // namespace eyrie::tensor
