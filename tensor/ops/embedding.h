// Embedding lookup and its gradient.
#pragma once

#include "tensor/tensor.h"

namespace eyrie::tensor {

// out (n, D) fp32 = table[tokens − first] · scale; table (V, D) fp32 or bf16, tokens int32 (1, n).
// The table may be rows [first, first + V) of a larger one: tokens outside it give zeros.
void embed(const Tensor& table, const Tensor& tokens, float scale, const Tensor& out,
           std::int64_t first = 0);
// The same for a table in int8 (int8.h).
void embed_int8(const Tensor& table, const Tensor& scales, std::int64_t block, const Tensor& tokens,
                float scale, const Tensor& out);

// dtable (V, D) fp32 += rows of dout (n, D) fp32 · scale. The rows of a token are added in the
// order of their positions; tokens outside the table's rows are skipped.
void embed_backward(const Tensor& dout, const Tensor& tokens, float scale, const Tensor& dtable,
                    std::int64_t first = 0);

}  // namespace eyrie::tensor
