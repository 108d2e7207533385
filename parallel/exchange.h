// Gradients and parameters between ranks, over point-to-point messages. A buffer of a parameter
// unit is cut into one slice a rank: rank r owns [cuts[r], cuts[r + 1]), ranks + 1 ascending
// offsets from 0, empty slices included.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "parallel/communicator.h"
#include "parallel/gradient_tree.h"
#include "tensor/dtype.h"

namespace eyrie::parallel {

// The largest message in bytes, so that a small exchange never waits long behind a large one; less
// where there are many ranks, since each has two pieces of every other one under way.
std::int64_t exchange_piece(int ranks);

// Memory of the exchanges, kept from one to the next: at most 3 · ranks · exchange_piece().
struct ExchangeSpace {
  std::vector<float> terms;
  std::vector<std::uint16_t> rounded;
};

// Makes one of the ranks' terms for a stretch of this rank's slice: elements [at, at + count) of
// it. parts[r] are rank r's, may be overwritten, and are gone afterwards.
using Combine =
    std::function<void(std::span<float* const> parts, std::int64_t at, std::int64_t count)>;

// Collective. Every rank has terms for the whole `buffer` of cuts.back() elements; each gets all
// ranks' terms for its own slice and combines them, from its beginning to its end. The buffer's
// contents are unspecified afterwards. With a bf16 `wire` every term is rounded, the own ones too.
// Returns the bytes sent.
std::int64_t scatter_terms(Communicator& ranks, std::span<float> buffer,
                           std::span<const std::int64_t> cuts, tensor::DType wire,
                           const Combine& combine, ExchangeSpace& space);

// Collective. scatter_terms() along the gradient tree: `buffer` holds this rank's local sum
// (GradientAccumulator::sum); afterwards this rank's own slice of it holds the sum over all ranks.
// Has the same bits on every number of ranks. `plan.ranks()` is the communicator's size.
std::int64_t reduce_scatter(Communicator& ranks, std::span<float> buffer,
                            std::span<const std::int64_t> cuts, const MicroShardPlan& plan,
                            ExchangeSpace& space);

// Collective. `buffer` holds cuts.back() elements of `element_bytes` each, of which this rank's own
// slice is filled; afterwards all are. Returns the bytes sent.
std::int64_t all_gather(Communicator& ranks, std::span<std::byte> buffer,
                        std::span<const std::int64_t> cuts, std::int64_t element_bytes);

}  // namespace eyrie::parallel
