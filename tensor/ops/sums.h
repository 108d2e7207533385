// Sums whose order is fixed, so that their bits do not depend on threads or ranks.
#pragma once

#include <cstdint>
#include <span>

#include "tensor/tensor.h"

namespace eyrie::tensor {

// Returns Σ x in fp64, in order; x is fp32 (1, n).
double sum(const Tensor& x);

// Σ x² in fp64 of each row, fp32 (1, n); on meta 0. The order depends only on n: eight interleaved
// sums, added in pairs. Rows are spread over the threads.
void sums_of_squares(std::span<const Tensor> rows, std::span<double> sums);
double sum_of_squares(const Tensor& row);

// Sums the parts, fp32 of one size, into parts[0]. Each `group` of neighbours (a power of two of
// them) is summed along the balanced binary tree, and the groups' sums are added in order. All
// parts are overwritten.
void sum_tree(std::span<const Tensor> parts, std::int64_t group);

}  // namespace eyrie::tensor
