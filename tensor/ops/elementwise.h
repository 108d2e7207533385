// Element-wise operations and related sums over rows. Tensors are (rows, columns); "any" means fp32
// or bf16. Arithmetic is in fp32, with one rounding at the store.
#pragma once

#include <cstdint>
#include <span>

#include "tensor/tensor.h"

namespace eyrie::tensor {

void zero(const Tensor& x);  // any dtype, int32 too

// Copies the elements of any dtype, int32 too, to a tensor of the same dtype and shape; or of the
// same size, if neither has gaps between its rows. The one operation that goes from device to
// device.
void copy(const Tensor& from, const Tensor& to);
// to[i] = from[rows[i]], of any one dtype.
void gather_rows(const Tensor& from, std::span<const std::int64_t> rows, const Tensor& to);

void convert(const Tensor& from, const Tensor& to);  // any to any, same shape

void round_to_bfloat16(const Tensor& x);  // x fp32 := x rounded to bf16

// (r, c) fp32 to (c, r) any; both may be strided.
void transpose(const Tensor& from, const Tensor& to);

void add(const Tensor& x, const Tensor& y);  // y += x; x any, y fp32

// state = product · state + rest, element by element; fp32 tensors of one size without gaps.
void affine(const Tensor& product, const Tensor& rest, const Tensor& state);

// out[c] (1, C) += sum over rows of x[r, c]; x any, out fp32. Rows are added in order. With
// `overwrite`, out = the sum.
void column_sum(const Tensor& x, const Tensor& out, bool overwrite);

// out = gelu_tanh(gate) * value: GeGLU (Shazeer 2020) of the MLP, and the gated output of the
// recurrent block. gate, value, out (n, C) any. gelu_tanh(x) = x · sigmoid(2 √(2/π) (x + 0.044715
// x³)).
void gelu_gate(const Tensor& gate, const Tensor& value, const Tensor& out);

// Computes dgate and dvalue, any, from dout (n, C) any. `out`, if given, of gate's dtype, is set to
// what gelu_gate gives; it may be dout.
void gelu_gate_backward(const Tensor& dout, const Tensor& gate, const Tensor& value,
                        const Tensor& dgate, const Tensor& dvalue, const Tensor& out = {});

// x (n, C) fp32 := cap · tanh(x / cap), in place.
void soft_cap(const Tensor& x, float cap);

}  // namespace eyrie::tensor
