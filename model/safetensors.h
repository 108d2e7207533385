// Safetensors files: an 8-byte little-endian header length, a JSON header (name → dtype, shape,
// data_offsets), then the data. Everything in the header is checked before anything is read by it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/file.h"

namespace eyrie::model {

// A file mapped for reading. InputError names the file, the tensor and what is wrong.
class Safetensors {
 public:
  enum class DType { kFloat32, kBFloat16, kFloat16 };
  struct Entry {
    DType dtype;
    std::vector<std::int64_t> shape;
    const std::byte* data;
    std::int64_t count;
  };

  explicit Safetensors(const base::Path& path);
  const std::map<std::string, Entry>& entries() const { return entries_; }
  // The values as fp32 (bf16 and fp16 widen exactly).
  static void widen(const Entry& entry, float* out);

 private:
  base::MappedFile file_;
  std::map<std::string, Entry> entries_;
};

}  // namespace eyrie::model
