// Communication between context ranks, each of which holds a contiguous piece of every sequence.
// Message sizes do not grow with the sequence length (except for the keys of global attention).
// Collective over the context axis; sums are made in rank order.
#pragma once

#include <cstdint>

#include "parallel/communication/collectives.h"
#include "tensor/arena.h"
#include "tensor/tensor.h"

namespace eyrie::model {

// Minimum tokens per piece: the convolution looks back over three tokens, which must all be on the
// neighbouring rank.
constexpr std::int64_t kLeastPiece = 3;

// Returns this rank's piece of a sequence of `length` tokens.
parallel::Part piece_of(std::int64_t length, const parallel::Communicator* context);

// Each rank holds `rows` (sequences · its length, C). Writes to `before` (sequences · k, C) the
// last k rows of every sequence on the previous rank; zeros on the first rank. rows_after() writes
// the first k rows on the next rank; zeros on the last rank.
void rows_before(parallel::Communicator& context, const tensor::Tensor& rows,
                 std::int64_t sequences, const tensor::Tensor& before, tensor::Arena& scratch);
void rows_after(parallel::Communicator& context, const tensor::Tensor& rows, std::int64_t sequences,
                const tensor::Tensor& after, tensor::Arena& scratch);

// The recurrence over a rank's piece is an affine map of its start state: end = product · start +
// rest, each (sequences, R) fp32. Writes to `start` the state after the pieces of all earlier ranks
// (from_end: of all later ranks, last one first), beginning with zero.
void fold_pieces(parallel::Communicator& context, const tensor::Tensor& product,
                 const tensor::Tensor& rest, bool from_end, const tensor::Tensor& start,
                 tensor::Arena& scratch);

// The exchange of keys or values in one pass over sequences of `length` tokens, in which a query
// sees at most `reach` keys before its own.
struct KeyPieces {
  parallel::Communicator& context;
  std::int64_t sequences, length, reach;
  // Returns how many keys before a rank's piece its queries can see.
  std::int64_t past(int rank) const;
};
// Writes to `all` (sequences · (past + own length), C), per sequence, the past rows of earlier
// ranks and then this rank's own. If there are no past rows, `all` may be `own`; the same holds for
// return_past().
void fetch_past(const KeyPieces& pieces, const tensor::Tensor& own, const tensor::Tensor& all,
                tensor::Arena& scratch);
// The reverse, for gradients: own = its rows of `all`, plus what later ranks computed for them;
// fp32.
void return_past(const KeyPieces& pieces, const tensor::Tensor& all, const tensor::Tensor& own,
                 tensor::Arena& scratch);

}  // namespace eyrie::model
