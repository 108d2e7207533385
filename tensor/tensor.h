// Tensor: a view of memory that something else owns (an arena, a parameter unit). Row-major; the
// rows of a matrix may be strided (a block of columns of a wider matrix).
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

#include "base/error.h"
#include "tensor/device.h"
#include "tensor/dtype.h"

namespace eyrie::tensor {

// At most two dimensions: (rows, columns). A vector is one row. Cheap to copy.
class Tensor {
 public:
  Tensor() = default;
  Tensor(void* data, DType dtype, std::int64_t rows, std::int64_t columns, std::int64_t stride = -1,
         Device device = Device::kCpu)
      : data_(data),
        dtype_(dtype),
        device_(device),
        rows_(rows),
        columns_(columns),
        stride_(stride < 0 ? columns : stride) {}

  bool empty() const { return data_ == nullptr || rows_ * columns_ == 0; }
  explicit operator bool() const { return data_ != nullptr; }
  DType dtype() const { return dtype_; }
  Device device() const { return device_; }
  std::int64_t rows() const { return rows_; }
  std::int64_t columns() const { return columns_; }
  std::int64_t stride() const { return stride_; }  // elements from one row to the next
  std::int64_t count() const { return rows_ * columns_; }
  bool contiguous() const { return stride_ == columns_ || rows_ <= 1; }
  // An address on the device.
  void* data() const { return data_; }

  // The elements as T; the dtype must be T's, and the tensor must be in host memory.
  template <class T>
  T* as() const {
    EYRIE_CHECK(dtype_ == dtype_of<T>(),
                std::string("a tensor of ") + name_of(dtype_) + " read as another type");
    EYRIE_CHECK(device_ == Device::kCpu,
                std::string("a tensor on ") + name_of(device_) + " read as host memory");
    return static_cast<T*>(data_);
  }
  float* f32() const { return as<float>(); }

  Tensor row_range(std::int64_t begin, std::int64_t count) const {
    return {at(begin, 0), dtype_, count, columns_, stride_, device_};
  }
  Tensor column_range(std::int64_t begin, std::int64_t count) const {
    return {at(0, begin), dtype_, rows_, count, stride_, device_};
  }
  // The same elements under another shape; contiguous tensors only.
  Tensor reshaped(std::int64_t rows, std::int64_t columns) const {
    EYRIE_CHECK(contiguous() && rows * columns == count(),
                "reshaped() of a strided tensor or to another size");
    return {data_, dtype_, rows, columns, columns, device_};
  }

 private:
  void* at(std::int64_t row, std::int64_t column) const {
    return static_cast<char*>(data_) + (row * stride_ + column) * size_of(dtype_);
  }
  void* data_ = nullptr;
  DType dtype_ = DType::kFloat32;
  Device device_ = Device::kCpu;
  std::int64_t rows_ = 0, columns_ = 0, stride_ = 0;
};

// One row over values in host memory, which the caller owns.
template <class T>
Tensor host_row(const std::vector<T>& values) {
  return {const_cast<T*>(values.data()), dtype_of<T>(), 1,
          static_cast<std::int64_t>(values.size())};
}

}  // namespace eyrie::tensor
