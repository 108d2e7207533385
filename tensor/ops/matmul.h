// Matrix products. CPU: oneDNN with AVX-512, BLIS without; each thread makes one single-threaded
// product over a range of output rows. The bits do not depend on the number of threads, nor those of
// a row on the rows beside it. (Products of few rows: few_rows.h.)
#pragma once

#include <functional>

#include "tensor/tensor.h"

namespace eyrie::tensor {

struct MatmulOptions {
  bool transpose_a = false;  // a is stored (K, M)
  bool transpose_b = false;  // b is stored (N, K)
  bool accumulate = false;   // out += instead of out =; fp32 outputs only
};

// out (M, N) = op(a) (M, K) · op(b) (K, N) [+ bias (1, N), fp32]. a and b have one dtype, fp32 or
// bf16; out is fp32 or of the same. Sums are made in fp32. Rows may be strided. A processor without
// bf16 products multiplies the same rounded values in fp32.
void matmul(const Tensor& a, const Tensor& b, const Tensor& out, MatmulOptions options = {},
            const Tensor& bias = {});

// body(begin, end) over a split of [0, rows) among the threads, for a caller that makes products of
// its part of the rows: cut where products' bits do not show it.
void parallel_rows(std::int64_t rows,
                   const std::function<void(std::int64_t begin, std::int64_t end)>& body);

// Best of `repeats` products of size³ in this dtype on this rank's threads, FLOP/s: the yardstick
// of `mfu`.
double measure_matmul_peak(DType dtype, std::int64_t size = 2048, int repeats = 5);

}  // namespace eyrie::tensor
