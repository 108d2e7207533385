// One matrix product on the calling thread, by the library that suits the processor. oneDNN has
// fast kernels only for AVX-512 (and bf16 products only for AVX-512 BF16). Without AVX-512, the
// bits of a row from oneDNN change with the number of rows and the layout of the weights, so BLIS
// computes the products there.
#pragma once

#include <cstdint>
#include <functional>

#include "tensor/cpu/kernels.h"

namespace eyrie::tensor::cpu {

struct Product {
  Tensor a, b, out;  // shapes as in matmul(); none is empty
  MatmulOptions options;
  Tensor bias;     // may be empty
  std::int64_t k;  // the length of the sums, at least 1

  // The same product for `count` rows, or columns, of out from `first` on.
  Product rows(std::int64_t first, std::int64_t count) const;
  Product columns(std::int64_t first, std::int64_t count) const;
};

// Rows that are multiplied together: threads split rows at multiples of it. It is a multiple of
// what both libraries' kernels take at a time, and above what oneDNN treats as few rows.
constexpr std::int64_t kRowTile = 24;

// Calls body(begin, end) for a split of [0, rows) among the threads, for a caller that computes
// products of its part of the rows. The rows are split so that the products' bits do not depend on
// it.
void parallel_rows(std::int64_t rows,
                   const std::function<void(std::int64_t begin, std::int64_t end)>& body);

// Calls the function below that suits the processor.
void make_product(const Product& product);

// Whether oneDNN computes the products, and the bf16 products: whether it may use AVX-512, or
// AVX-512 BF16 (ONEDNN_MAX_CPU_ISA is respected).
bool products_by_onednn();
bool bf16_products_by_onednn();

// With a transposed `a` the sums depend on how it is split, so the caller splits it by its size
// alone. Each thread caches the kMostPrimitives primitives that it used last. One takes 20 to 200
// kB and up to 2 ms to create (AMX).
constexpr std::size_t kMostPrimitives = 128;
void onednn_product(const Product& product);
std::size_t onednn_primitives();  // cached by this thread

// Each element of out is the sum over k in order, in blocks of a fixed size: its bits depend only
// on its row of a, its column of b and k. fp32 only.
void blis_product(const Product& product);

// A bf16 product computed in fp32: the operands are widened to fp32 piece by piece.
void widened_product(const Product& product);

}  // namespace eyrie::tensor::cpu
