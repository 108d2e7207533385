// Device: where a tensor's memory is. The operations of tensor/ops run on the device of their
// operands; code above tensor/ never looks at elements itself, unless it knows that they are in
// host memory.
#pragma once

#include <cstdint>

namespace eyrie::tensor {

// kMeta has no memory. Its tensors have shapes, and addresses that can be compared but not read,
// and operations on them check shapes and do nothing else. Planning runs the code of training on
// it, to count memory and messages.
enum class Device : std::uint8_t { kCpu, kCuda, kMeta };

constexpr const char* name_of(Device device) {
  switch (device) {
    case Device::kCpu:
      return "cpu";
    case Device::kCuda:
      return "cuda";
    case Device::kMeta:
      return "meta";
  }
  return "unknown";
}

}  // namespace eyrie::tensor
