// Exchange of gradients and parameters between ranks by point-to-point messages. The buffer of a
// parameter unit is cut into one slice per rank: rank r owns [cuts[r], cuts[r + 1]). `cuts` holds
// ranks + 1 ascending offsets that start at 0; slices may be empty.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "parallel/communication/communicator.h"
#include "tensor/dtype.h"

namespace eyrie::parallel {

// The largest message in bytes. It is small so that a small exchange never waits long behind a
// large one, and smaller with many ranks, since two pieces per other rank are in flight.
std::int64_t exchange_piece(int ranks);

// Buffers of the exchanges, kept from one to the next: at most 6 · ranks · exchange_piece() bytes.
struct ExchangeSpace {
  std::vector<float> partial_sums;
  std::vector<std::uint16_t> rounded;
};

// Combines all ranks' partial sums of elements [at, at + count) of this rank's slice into one sum.
// parts[r] are rank r's partial sums; they may be overwritten and are invalid after the call.
using Combine =
    std::function<void(std::span<float* const> parts, std::int64_t at, std::int64_t count)>;

// Collective. Every rank has partial sums for the whole `buffer` of cuts.back() elements. Each rank
// receives all ranks' partial sums for its own slice and calls `combine` on them from the slice's
// beginning to its end. The buffer's contents are unspecified afterwards. With a bf16 `comm_dtype`
// all partial sums are rounded, including this rank's own. Returns the bytes sent.
std::int64_t scatter_partial_sums(Communicator& ranks, std::span<float> buffer,
                                  std::span<const std::int64_t> cuts, tensor::DType comm_dtype,
                                  const Combine& combine, ExchangeSpace& space);

// Collective. `buffer` holds cuts.back() elements of `element_bytes` each. This rank has filled its
// own slice; afterwards all slices are filled. Returns the bytes sent.
std::int64_t all_gather(Communicator& ranks, std::span<std::byte> buffer,
                        std::span<const std::int64_t> cuts, std::int64_t element_bytes);

}  // namespace eyrie::parallel
