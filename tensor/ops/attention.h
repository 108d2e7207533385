// Local multi-query attention and its rotary positions. Past keys and values come before the new
// ones, so that training, prefill in chunks and decoding are one operation. Cost O(queries ·
// window): scores exist for one tile of queries only.
#pragma once

#include "tensor/tensor.h"

namespace eyrie::tensor {

class Arena;

struct AttentionShape {
  std::int64_t sequences, queries,
      keys;  // queries and keys a sequence; the last `queries` keys are the queries' own
  std::int64_t heads, head_dim;
};

// q, out (sequences·queries, heads·head_dim) any, one dtype with k, v (sequences·keys, head_dim).
// first_key: int32 (1, sequences·queries), the first key of its sequence that a query sees (window
// and document start), never falling along a sequence; the last is the query's own. log_sum
// (sequences·queries, heads) fp32 is kept for the backward pass. Scores are q·k / √head_dim;
// softmax in fp32.
void attention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& first_key,
               const AttentionShape& shape, const Tensor& out, const Tensor& log_sum,
               Arena& scratch);

// dout like out; dq (like q) fp32; dk, dv (like k) fp32; all written.
void attention_backward(const Tensor& dout, const Tensor& q, const Tensor& k, const Tensor& v,
                        const Tensor& out, const Tensor& log_sum, const Tensor& first_key,
                        const AttentionShape& shape, const Tensor& dq, const Tensor& dk,
                        const Tensor& dv, Arena& scratch);

// Rotary embedding (Su et al. 2021) of the first half of each head: pairs (j, j + head_dim/4),
// angle position · 10000^(−4j/head_dim). The angles serve all layers: positions int32 (1, n) →
// cosines, sines (n, head_dim/4) fp32.
void rope_angles(const Tensor& positions, std::int64_t head_dim, const Tensor& cosines,
                 const Tensor& sines);

// x (n, heads·head_dim) any, to y any (may be x). `inverse` rotates back: the backward pass.
void rope(const Tensor& x, const Tensor& cosines, const Tensor& sines, bool inverse,
          const Tensor& y);

}  // namespace eyrie::tensor
