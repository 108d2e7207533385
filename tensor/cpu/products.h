// One matrix product on the calling thread, by the library that suits the processor. oneDNN has
// fast kernels for AVX-512 (and products of bf16 for its bf16 part) alone; before AVX-512 its
// kernels give a row other bits when the number of rows or the layout of the weights is another, so
// BLIS makes the products there.
#pragma once

#include <cstdint>

#include "tensor/ops/matmul.h"

namespace eyrie::tensor {

struct Product {
  Tensor a, b, out;  // shapes as matmul's; none is empty
  MatmulOptions options;
  Tensor bias;     // or none
  std::int64_t k;  // what is summed over, at least 1

  // The same product for `count` rows of out from `first` on.
  Product rows(std::int64_t first, std::int64_t count) const;
};

// Rows that are multiplied together; split among threads at its multiples. A multiple of what the
// kernels of both libraries take at a time, and more than oneDNN takes for few.
constexpr std::int64_t kRowTile = 24;

// By the library that suits the processor.
void make_product(const Product& product);

// Whether oneDNN makes the products, and those of bf16: whether it may use AVX-512, or its bf16
// part (ONEDNN_MAX_CPU_ISA counts).
bool products_by_onednn();
bool bf16_products_by_onednn();

// Of a transposed `a` the sums depend on how it is cut: the caller cuts it where its size says.
// Each thread keeps the kMostPrimitives primitives that it used last: of 20 to 200 kB, and to make
// one takes up to 2 ms (AMX).
constexpr std::size_t kMostPrimitives = 128;
void onednn_product(const Product& product);
std::size_t onednn_primitives();  // kept by this thread

// An element of out is the sum over k in order, in blocks of a fixed size: its bits depend on its
// row of a, its column of b and k alone. fp32 only.
void blis_product(const Product& product);

// A product of bf16 by products of the same values in fp32, widened piece by piece.
void widened_product(const Product& product);

}  // namespace eyrie::tensor
