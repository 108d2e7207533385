// The bytes of a tensor, as messages carry them.
#pragma once

#include <cstddef>
#include <span>

#include "base/error.h"
#include "tensor/tensor.h"

namespace eyrie::parallel {

inline std::span<std::byte> bytes_of(const tensor::Tensor& x) {
  EYRIE_CHECK(x.contiguous(), "only tensors without gaps travel");
  return {static_cast<std::byte*>(x.data()),
          static_cast<std::size_t>(x.count() * size_of(x.dtype()))};
}

}  // namespace eyrie::parallel
