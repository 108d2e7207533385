// Writes a safetensors file piece by piece: memory never holds a whole tensor.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/new_file.h"
#include "model/weights/stored_type.h"

namespace eyrie::model {

// The file appears under its path at commit(); without one nothing stays behind. The same tensors
// give the same bytes.
class SafetensorsWriter {
 public:
  struct Tensor {
    std::string name;
    StoredType type;
    std::vector<std::int64_t> shape;
    std::int64_t count() const;
  };

  SafetensorsWriter(const base::Path& path, std::vector<Tensor> tensors);
  SafetensorsWriter(const SafetensorsWriter&) = delete;

  // The next elements, tensor after tensor in the order given above; never beyond the end of a
  // tensor. InputError where a value is beyond the range of the tensor's type.
  void append(const float* values, std::int64_t count);
  void commit();

 private:
  base::NewFile file_;
  std::vector<Tensor> tensors_;
  std::size_t tensor_ = 0;    // that is being written
  std::int64_t written_ = 0;  // elements of it
  std::uint64_t offset_ = 0;  // in the file
  std::vector<std::byte> buffer_;
};

}  // namespace eyrie::model
