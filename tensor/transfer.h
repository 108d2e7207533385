// Elements of any device as host values.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "tensor/ops/elementwise.h"

namespace eyrie::tensor {

// The elements of a row, of type T; zeros on meta.
template <class T>
std::vector<T> to_host(const Tensor& row) {
  std::vector<T> values(static_cast<std::size_t>(row.count()));
  copy(row, host_row(values));
  return values;
}

// Single elements of a matrix.
struct Element {
  std::int64_t row, column;
};
std::vector<float> to_host(const Tensor& matrix, std::span<const Element> elements);

}  // namespace eyrie::tensor
