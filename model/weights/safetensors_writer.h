// Writes a safetensors file piece by piece: memory never holds a whole tensor.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/new_file.h"
#include "model/weights/stored_type.h"

namespace eyrie::model {

// The file appears under its path at commit(); without commit() nothing is left behind. The same
// tensors give the same bytes.
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

  // Appends the next elements, tensor after tensor in the order given above; a call must not cross
  // the end of a tensor. Throws InputError if a value is out of the range of the tensor's type.
  void append(const float* values, std::int64_t count);
  void commit();

 private:
  base::NewFile file_;
  std::vector<Tensor> tensors_;
  std::size_t tensor_ = 0;    // the one being written
  std::int64_t written_ = 0;  // elements of it
  std::uint64_t offset_ = 0;  // in the file
  std::vector<std::byte> buffer_;
};

}  // namespace eyrie::model
