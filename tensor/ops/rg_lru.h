// The real-gated linear recurrent unit (Griffin, arXiv 2402.19427, section 2.4; resets as in
// recurrentgemma's code):
//   i = σ(gate_x), r = σ(gate_a), log a = −8 r softplus(a_param), m = √(1 − a²) (1 at a document's
//   first token), h[t] = a h[t−1] + m (i u) (without h[t−1] at a document's first token).
// Gates, decay and state are fp32, whatever u and h are stored as; 1 − a² is computed as −e (2 + e)
// with e = expm1(log a); the derivative of the square root is bounded by 1000, as in the official
// code.
#pragma once

#include "tensor/tensor.h"

namespace eyrie::tensor {

constexpr float kRgLruC = 8.0f;

// `sequences` sequences of T tokens, one after the other: u (n, R) fp32 or bf16; gate_x and gate_a
// (n, R) fp32 hold the block-diagonal products without bias on entry and i and r on return; bias_x,
// bias_a and a_param (1, R) fp32; positions int32 (1, n); h (n, R) has u's dtype. state (sequences,
// R) fp32 may be empty (zero): it is read as h[−1] and replaced by the last h.
void rg_lru(const Tensor& u, const Tensor& gate_x, const Tensor& gate_a, const Tensor& bias_x,
            const Tensor& bias_a, const Tensor& a_param, const Tensor& positions,
            std::int64_t sequences, const Tensor& h, const Tensor& state);

// From dh (n, R) fp32 computes du (n, R) fp32 (the direct path only; the caller adds the path
// through the gates), dgate_x and dgate_a (n, R) fp32 or bf16 (before the sigmoid), and dbias_x,
// dbias_a and da_param (1, R) fp32; all are overwritten. i, r and h are as the forward pass left
// them. initial_state (sequences, R) fp32, the state that the forward pass started from, and
// dstate_last (sequences, R) fp32, the gradient of the last h beyond dh, may be empty.
// dinitial_state (sequences, R) fp32 is written unless it is empty.
struct RgLruBackward {
  Tensor dh, u, i, r, h, a_param, positions, initial_state, dstate_last;    // in
  Tensor du, dgate_x, dgate_a, dbias_x, dbias_a, da_param, dinitial_state;  // out
};
void rg_lru_backward(const RgLruBackward& args, std::int64_t sequences);

// A piece of a sequence is an affine map of its initial state: h[last] = product · h[−1] + last.
// These two functions compute the map without writing h, so that the ranks that hold the pieces get
// their initial states by one exchange. Arguments are as above; the gates, without bias, are not
// changed. product and last (sequences, R) fp32 are written (product is 0 if a document begins in
// the piece).
void rg_lru_summary(const Tensor& u, const Tensor& gate_x, const Tensor& gate_a,
                    const Tensor& bias_x, const Tensor& bias_a, const Tensor& a_param,
                    const Tensor& positions, std::int64_t sequences, const Tensor& product,
                    const Tensor& last);
// The same for the backward pass: dinitial_state = product · dstate_last + first.
void rg_lru_backward_summary(const Tensor& dh, const Tensor& r, const Tensor& a_param,
                             const Tensor& positions, std::int64_t sequences, const Tensor& product,
                             const Tensor& first);

}  // namespace eyrie::tensor
