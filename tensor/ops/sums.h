// Sums whose order is fixed, so that their bits do not depend on threads or ranks.
#pragma once

#include <cstdint>
#include <span>

#include "tensor/tensor.h"

namespace eyrie::tensor {

// Returns Σ x in fp64, in order; x is fp32 (1, n).
double sum(const Tensor& x);

// Returns Σ x² in fp64; x is fp32 (1, n). The order depends only on n: eight interleaved sums,
// added in pairs.
double sum_of_squares(const Tensor& x);

// Sums the parts, fp32 of one size, into parts[0]. Each `group` of neighbours (a power of two of
// them) is summed along the balanced binary tree, and the groups' sums are added in order. All
// parts are overwritten.
void sum_tree(std::span<const Tensor> parts, std::int64_t group);

}  // namespace eyrie::tensor
