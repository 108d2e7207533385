// Matrix products. On the CPU by oneDNN with AVX-512, by BLIS without; each thread computes one
// single-threaded product over a range of output rows. The bits do not depend on the number of
// threads, and a row's bits do not depend on the other rows (if its sums are shorter than 16,384).
// Products of few rows: few_rows.h.
#pragma once

#include "tensor/tensor.h"

namespace eyrie::tensor {

struct MatmulOptions {
  bool transpose_a = false;  // a is stored (K, M)
  bool transpose_b = false;  // b is stored (N, K)
  bool accumulate = false;   // out += instead of out =; fp32 outputs only
};

// out (M, N) = op(a) (M, K) · op(b) (K, N) [+ bias (1, N), fp32]. a and b have the same dtype, fp32
// or bf16; out is fp32 or of that dtype. Sums are in fp32. Rows may be strided. Processors without
// bf16 products multiply the same rounded values in fp32.
void matmul(const Tensor& a, const Tensor& b, const Tensor& out, MatmulOptions options = {},
            const Tensor& bias = {});

// Returns the FLOP/s of the fastest of `repeats` products of size³ in this dtype on this rank's
// threads: the reference for `mfu`.
double measure_matmul_peak(DType dtype, std::int64_t size = 2048, int repeats = 5);

}  // namespace eyrie::tensor
