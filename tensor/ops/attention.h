// Multi-query attention, local or global, and its rotary embedding. Keys and values of earlier
// tokens come before the new ones, so that training, chunked prefill and decoding are one
// operation. Costs O(queries · window); scores exist for only one tile of queries at a time.
#pragma once

#include "tensor/tensor.h"

namespace eyrie::tensor {

class Arena;

struct AttentionShape {
  // queries and keys are counts per sequence; the last `queries` keys are the queries' own.
  std::int64_t sequences, queries, keys;
  std::int64_t heads, head_dim;
  std::int64_t reach;  // a query sees at most this many keys before its own
};

// q and out (sequences·queries, heads·head_dim), k and v (sequences·keys, head_dim), all of one
// dtype, fp32 or bf16. first_key: int32 (1, sequences·queries), the first key in its sequence that
// a query attends to (limited by window and document start), non-decreasing along a sequence; the
// last key is the query's own. log_sum (sequences·queries, heads) fp32 is kept for the backward
// pass. Scores are q·k / √head_dim; softmax is in fp32.
void attention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& first_key,
               const AttentionShape& shape, const Tensor& out, const Tensor& log_sum,
               Arena& scratch);

// dout is like out; dq (shape of q), dk and dv (shape of k) are fp32. All three are overwritten.
void attention_backward(const Tensor& dout, const Tensor& q, const Tensor& k, const Tensor& v,
                        const Tensor& out, const Tensor& log_sum, const Tensor& first_key,
                        const AttentionShape& shape, const Tensor& dq, const Tensor& dk,
                        const Tensor& dv, Arena& scratch);

// Rotary embedding (Su et al. 2021) of the first half of each head: pairs (j, j + head_dim/4),
// angle position · 10000^(−4j/head_dim). All layers use the same angles. positions int32 (1, n);
// cosines and sines (n, head_dim/4) fp32 are written.
void rope_angles(const Tensor& positions, std::int64_t head_dim, const Tensor& cosines,
                 const Tensor& sines);

// Rotates x (n, heads·head_dim) into y, which may be x; each is fp32 or bf16. `inverse` rotates
// back, for the backward pass.
void rope(const Tensor& x, const Tensor& cosines, const Tensor& sines, bool inverse,
          const Tensor& y);

}  // namespace eyrie::tensor
