// Products of few rows, and attention of one new token a sequence: what decoding is made of. Both
// read every weight and every key once, at the memory's speed. A row's result has the same bits
// whatever the other rows, their number and the number of threads.
#pragma once

#include <span>

#include "tensor/tensor.h"

namespace eyrie::tensor {

// out (m, N) = x (m, K) · w [+ bias (1, N) fp32]. w is (K, N), or with `transposed` (N, K), in x's
// dtype (x fp32 · w bf16 is allowed too); out any. Sums in fp32.
struct FewRowsProduct {
  Tensor x, w;
  bool transposed = false;
  Tensor bias, out;
};

// All products at once: their output columns are shared out among the threads together. All have
// the same number of rows.
void few_rows(std::span<const FewRowsProduct> products);

// What one sequence keeps of its keys and values: rings of `slots` rows (head_dim), where the
// token read as the i-th of its sequence lies in slot i mod slots.
struct KeyRing {
  const void* keys = nullptr;
  const void* values = nullptr;
  std::int64_t slots = 0;
  std::int64_t newest = 0;  // the number of the new token; it is in its slot already
  std::int64_t seen = 0;    // how many tokens before it the query sees; below `slots`
};

// q, out (sequences, heads·head_dim), the rings' dtype; scores are q·k / √head_dim, softmax in
// fp32.
void attention_step(const Tensor& q, std::span<const KeyRing> rings, std::int64_t heads,
                    const Tensor& out);

}  // namespace eyrie::tensor
