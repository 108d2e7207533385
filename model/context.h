// What context ranks tell each other: each holds a contiguous piece of every sequence. All of it is
// of a size that does not grow with the sequences' length (but for the keys of global attention).
// Collective over the context axis; sums in rank order.
#pragma once

#include <cstdint>

#include "parallel/activations.h"
#include "tensor/arena.h"
#include "tensor/tensor.h"

namespace eyrie::model {

// The convolution looks back over three tokens, which one neighbour must have.
constexpr std::int64_t kLeastPiece = 3;

// This rank's piece of a sequence of `length` tokens.
parallel::Part piece_of(std::int64_t length, const parallel::Communicator* context);

// before (sequences · k, C): the last k rows that the rank before has of every sequence of its rows
// (sequences · its length, C); zeros on the first rank. rows_after(): the first k of the next;
// zeros on the last.
void rows_before(parallel::Communicator& context, const tensor::Tensor& rows,
                 std::int64_t sequences, const tensor::Tensor& before, tensor::Arena& scratch);
void rows_after(parallel::Communicator& context, const tensor::Tensor& rows, std::int64_t sequences,
                const tensor::Tensor& after, tensor::Arena& scratch);

// Every rank's piece maps the state that it starts from: end = product · start + rest, each
// (sequences, R) fp32. Returns in `start` what comes out of the ranks before this one (from_end: of
// the ranks after it), beginning with zero.
void fold_pieces(parallel::Communicator& context, const tensor::Tensor& product,
                 const tensor::Tensor& rest, bool from_end, const tensor::Tensor& start,
                 tensor::Arena& scratch);

// Keys or values of one pass over sequences of `length` tokens, whose queries see at most `reach`
// keys before their own.
struct KeyPieces {
  parallel::Communicator& context;
  std::int64_t sequences, length, reach;
  // Keys before a rank's piece that its queries can see.
  std::int64_t past(int rank) const;
};
// all (sequences · (past + own length), C): own rows and before them those of earlier ranks. Where
// there are none, `all` may be `own`; so in return_past().
void fetch_past(const KeyPieces& pieces, const tensor::Tensor& own, const tensor::Tensor& all,
                tensor::Arena& scratch);
// Back again: own = its rows of `all`, plus what later ranks have for them; fp32.
void return_past(const KeyPieces& pieces, const tensor::Tensor& all, const tensor::Tensor& own,
                 tensor::Arena& scratch);

}  // namespace eyrie::model
