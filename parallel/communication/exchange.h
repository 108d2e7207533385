// Exchange of gradients and parameters between ranks by point-to-point messages. The buffer of a
// parameter unit, a tensor of one row, is cut into one slice per rank.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "parallel/communication/communicator.h"
#include "parallel/communication/cuts.h"
#include "tensor/arena.h"

namespace eyrie::parallel {

// The largest message in bytes. It is small so that a small exchange never waits long behind a
// large one, and smaller with many ranks, since two pieces per other rank are in flight.
std::int64_t exchange_piece(int ranks);

// Buffers of the exchanges, kept from one to the next: at most 6 · ranks · exchange_piece() bytes.
struct ExchangeSpace {
  tensor::Buffer received, rounded, widened;  // what came, what goes, and bf16 sums as fp32
  std::int64_t bytes() const {
    return static_cast<std::int64_t>(received.size() + rounded.size() + widened.size());
  }
};

// Combines all ranks' partial sums of a part of this rank's slice, from element `at` on, into one
// sum. parts[r] (1, count) fp32 are rank r's partial sums; they may be overwritten and are invalid
// after the call.
using Combine = std::function<void(std::span<const tensor::Tensor> parts, std::int64_t at)>;

// Collective. Every rank has partial sums for the whole `buffer` (1, n) fp32. Each rank
// receives all ranks' partial sums for its own slice and calls `combine` on them from the slice's
// beginning to its end. The buffer's contents are unspecified afterwards. With a bf16 `comm_dtype`
// all partial sums are rounded, including this rank's own. Returns the bytes sent.
std::int64_t scatter_partial_sums(Communicator& ranks, const tensor::Tensor& buffer,
                                  const Cuts& cuts, tensor::DType comm_dtype,
                                  const Combine& combine, ExchangeSpace& space);

// Collective. `buffer` (1, n) is of any dtype. This rank has filled its own slice;
// afterwards all slices are filled. Returns the bytes sent.
std::int64_t all_gather(Communicator& ranks, const tensor::Tensor& buffer, const Cuts& cuts);

}  // namespace eyrie::parallel
