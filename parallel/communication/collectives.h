// Collective exchanges of activations inside a layer, between the ranks of a tensor or context
// axis. Sums are made in fp32 in rank order, so that all ranks get the same bits. A call returns
// when its exchange is complete; with one rank it returns at once.
#pragma once

#include <span>

#include "parallel/communication/communicator.h"
#include "tensor/arena.h"
#include "tensor/tensor.h"

namespace eyrie::parallel {

// One rank's range [begin, begin + count) of `all` items. The ranges differ in size by at most one
// item.
struct Part {
  std::int64_t begin = 0, count = 0;
  std::int64_t end() const { return begin + count; }
};
Part part_of(std::int64_t all, int ranks, int rank);

// own (this rank's part of the n rows, C) = the sum over ranks of its rows of `all` (n, C), both
// fp32. `comm_dtype` is fp32, or bf16, which rounds all partial sums. `own` may be a view into
// `all`.
void reduce_scatter_rows(Communicator& ranks, const tensor::Tensor& all, const tensor::Tensor& own,
                         tensor::DType comm_dtype, tensor::Arena& scratch);

// Fills `all` (n, C) with the parts of all ranks. Both have the same dtype. `own` may be a view
// into `all`. (With as many rows as ranks, each rank contributes one.)
void all_gather_rows(Communicator& ranks, const tensor::Tensor& own, const tensor::Tensor& all);

// x (n, C) fp32 = Σ over ranks of x. With a bf16 `comm_dtype` the sum is rounded to bf16 too.
void all_reduce_rows(Communicator& ranks, const tensor::Tensor& x, tensor::DType comm_dtype,
                     tensor::Arena& scratch);

// One message to or from `rank`. Both sides know its size. `data` must be contiguous.
struct Message {
  int rank;
  tensor::Tensor data;
};
void send_and_receive(Communicator& ranks, std::span<const Message> sends,
                      std::span<const Message> receives);

}  // namespace eyrie::parallel
