// Embedding lookup and its gradient.
#pragma once

#include "tensor/tensor.h"

namespace eyrie::tensor {

// out (n, D) fp32 = table[tokens] · scale; table (V, D) any, tokens int32 (1, n), each in [0, V).
void embed(const Tensor& table, const Tensor& tokens, float scale, const Tensor& out);

// dtable (V, D) fp32 += rows of dout (n, D) fp32 · scale. A token's rows are added in the order of
// their positions.
void embed_backward(const Tensor& dout, const Tensor& tokens, float scale, const Tensor& dtable);

}  // namespace eyrie::tensor
