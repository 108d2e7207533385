// From run-time dtypes to typed kernels: with_type(tensor, [](auto* elements) { … }).
#pragma once

#include "tensor/tensor.h"

namespace eyrie::tensor::cpu {

template <class Body>
void with_type(const Tensor& tensor, Body&& body) {
  if (tensor.dtype() == DType::kBFloat16) {
    body(static_cast<BFloat16*>(tensor.data()));
  } else {
    body(tensor.as<float>());
  }
}

}  // namespace eyrie::tensor::cpu
