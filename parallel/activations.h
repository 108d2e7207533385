// Exchanges of activations inside a layer, between the ranks of a tensor or context axis. Every sum
// is made in fp32 in rank order, so that all ranks hold the same bits. Collective, and done when
// the call returns. With one rank they return at once.
#pragma once

#include <span>

#include "parallel/communicator.h"
#include "tensor/arena.h"
#include "tensor/tensor.h"

namespace eyrie::parallel {

// [begin, begin + count) of `all` items for one of `ranks`; equal but for the rounding.
struct Part {
  std::int64_t begin = 0, count = 0;
  std::int64_t end() const { return begin + count; }
};
Part part_of(std::int64_t all, int ranks, int rank);

// own (this rank's part of the n rows, C) = Σ over ranks of all (n, C), both fp32. `wire`: fp32, or
// bf16, which rounds the terms. `own` may lie in `all`.
void reduce_scatter_rows(Communicator& ranks, const tensor::Tensor& all, const tensor::Tensor& own,
                         tensor::DType wire, tensor::Arena& scratch);

// all (n, C) = the parts of all ranks; one dtype. `own` may lie in `all`. (With as many rows as
// ranks, each has one.)
void all_gather_rows(Communicator& ranks, const tensor::Tensor& own, const tensor::Tensor& all);

// x (n, C) fp32 = Σ over ranks of x. With a bf16 wire the sum is rounded too.
void all_reduce_rows(Communicator& ranks, const tensor::Tensor& x, tensor::DType wire,
                     tensor::Arena& scratch);

// A message to or from each rank named; both sides know the sizes. Tensors without gaps.
struct Message {
  int rank;
  tensor::Tensor data;
};
void send_and_receive(Communicator& ranks, std::span<const Message> sends,
                      std::span<const Message> receives);

}  // namespace eyrie::parallel
