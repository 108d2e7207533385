// Products of few rows, and attention of one new token per sequence: the operations of decoding.
// Both read every weight and every key once, at memory bandwidth. The bits of a row's result do not
// depend on the other rows, their number or the number of threads.
#pragma once

#include <span>

#include "tensor/tensor.h"

namespace eyrie::tensor {

// out (m, N) = x (m, K) · w [+ bias (1, N) fp32]. w is (K, N), or with `transposed` (N, K), in x's
// dtype (x fp32 · w bf16 is allowed too); out is fp32 or bf16. Sums are in fp32. Transposed weights
// may be int8, with their scales (int8.h).
struct FewRowsProduct {
  Tensor x, w;
  bool transposed = false;
  Tensor bias, out;
  Tensor scales = {};
  std::int64_t block = 0;
};

// Computes all products at once: their output columns together are split among the threads. All
// have the same number of rows.
void few_rows(std::span<const FewRowsProduct> products);

// The cached keys and values of one sequence: ring buffers (slots, head_dim). The i-th token of the
// sequence is in slot i mod slots.
struct KeyRing {
  Tensor keys, values;
  std::int64_t newest = 0;  // the index of the new token, which is already in its slot
  std::int64_t seen = 0;    // how many tokens before it the query attends to; below slots()
  std::int64_t slots() const { return keys.rows(); }
};

// q and out (sequences, heads·head_dim) have the rings' dtype. Scores are q·k / √head_dim; softmax
// is in fp32.
void attention_step(const Tensor& q, std::span<const KeyRing> rings, std::int64_t heads,
                    const Tensor& out);

}  // namespace eyrie::tensor
