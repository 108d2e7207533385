// libFuzzer target: any bytes as a safetensors file. Built and run by scripts/fuzz. What the parser
// accepts is read to its last element, so that an offset that it let through is found by
// AddressSanitizer.
#include <cstdlib>
#include <span>
#include <vector>

#include "base/error.h"
#include "model/weights/safetensors.h"
#include "tensor/threads.h"

// In place of tensor/threads.cc: one thread, no OpenMP.
namespace eyrie::tensor {
void parallel_for(std::int64_t count, std::int64_t,
                  const std::function<void(std::int64_t, std::int64_t)>& body) {
  if (count > 0) body(0, count);
}
}  // namespace eyrie::tensor

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  using namespace eyrie;
  try {
    const model::Safetensors file(std::as_bytes(std::span(data, size)), "fuzz");
    std::size_t bytes = 0;
    for (const auto& [name, entry] : file.entries()) {
      const auto type = entry.type();
      if (!type) continue;
      std::vector<float> values(static_cast<std::size_t>(entry.count));
      file.read(name, 0, entry.count, values.data());
      if (entry.count > 1) file.read(name, 1, entry.count - 1, values.data());
      bytes += values.size() * static_cast<std::size_t>(model::size_of(*type));
    }
    if (bytes > size) std::abort();  // tensors over each other
  } catch (const base::InputError&) {
    // Refused, as most inputs are.
  }
  return 0;
}
