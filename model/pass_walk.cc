// The walk through the blocks of a pass and what they exchange.
#include "model/pass_walk.h"

#include "model/context.h"

namespace eyrie::model {
namespace {

constexpr std::int64_t kFloat = 4;
constexpr std::int64_t kKept = kLeastPiece;  // inputs that the convolution looks back on

}  // namespace

// ---- Between the residual stream and the blocks.

void PassWalk::to_block(std::int64_t element) {
  if (!gathers_) return;
  scratch_.take(n_ * config_.width * element);
  size_.tensor_sent += rows_ * config_.width * element * (shape_.tensor_ranks - 1);
  ++size_.tensor_exchanges;
}

void PassWalk::block_output() {
  if (gathers_) scratch_.take(n_ * config_.width * kFloat);
}

void PassWalk::reduce_scatter(std::int64_t comm_bytes, bool in_place) {
  const tensor::ArenaScope scope(scratch_);
  const int ranks = shape_.tensor_ranks, rank = shape_.tensor_rank;
  const std::int64_t own = parallel::part_of(n_, ranks, rank).count, width = config_.width;
  if (comm_bytes != kFloat) scratch_.take(n_ * width * comm_bytes);
  scratch_.take(own * (ranks - 1) * width * comm_bytes);
  size_.tensor_sent += (n_ - own) * width * comm_bytes;
  ++size_.tensor_exchanges;
  if (rank != 0 && in_place && comm_bytes == kFloat) scratch_.take(own * width * kFloat);
}

void PassWalk::from_block(std::int64_t comm_bytes) {
  if (!split_) return;
  if (shape_.sequence) return reduce_scatter(comm_bytes, false);
  const std::int64_t width = config_.width,
                     own = parallel::part_of(n_, shape_.tensor_ranks, shape_.tensor_rank).count;
  reduce_scatter(comm_bytes, true);
  const tensor::ArenaScope scope(scratch_);
  if (comm_bytes != kFloat) scratch_.take(n_ * width * comm_bytes);
  size_.tensor_sent += own * width * comm_bytes * (shape_.tensor_ranks - 1);
  ++size_.tensor_exchanges;
}

// ---- Between the pieces of sequences.

// rows_before() and rows_after(): `sends` if there is a rank on that side.
void PassWalk::neighbour(std::int64_t element, bool sends) {
  const tensor::ArenaScope scope(scratch_);
  ++size_.context_exchanges;
  if (!sends) return;
  const std::int64_t bytes = shape_.sequences * kKept * dims_.rnn.local() * element;
  scratch_.take(bytes);
  size_.context_sent += bytes;
}

void PassWalk::fold() {
  const tensor::ArenaScope scope(scratch_);
  const std::int64_t own = 2 * shape_.sequences * dims_.rnn.local() * kFloat;
  scratch_.take(own);
  scratch_.take(own * shape_.context_ranks);
  size_.context_sent += own * (shape_.context_ranks - 1);
  ++size_.context_exchanges;
}

// fetch_past() of keys or values, or with `back` return_past() of their gradients.
void PassWalk::past_keys(std::size_t layer, std::int64_t element, bool back) {
  const tensor::ArenaScope scope(scratch_);
  const auto needed = [&](int reader, int owner) {
    const parallel::Part own = parallel::part_of(shape_.length, shape_.context_ranks, owner);
    const std::int64_t end = parallel::part_of(shape_.length, shape_.context_ranks, reader).begin;
    const std::int64_t begin = std::max(own.begin, end - std::min(config_.reach(layer), end));
    return std::max<std::int64_t>(0, std::min(own.end(), end) - begin) * shape_.sequences *
           dims_.head_dim * element;
  };
  const int rank = shape_.context_rank;
  std::int64_t to_later = 0;
  const auto later = [&] {
    for (int reader = rank + 1; reader < shape_.context_ranks; ++reader) {
      if (needed(reader, rank) == 0) break;  // nor do later ranks
      scratch_.take(needed(reader, rank));
      to_later += needed(reader, rank);
    }
  };
  std::int64_t to_earlier = 0;
  const auto earlier = [&] {
    int first = rank;
    while (first > 0 && needed(rank, first - 1) > 0) --first;
    for (int owner = first; owner < rank; ++owner) {
      scratch_.take(needed(rank, owner));
      to_earlier += needed(rank, owner);
    }
  };
  if (back) {
    earlier();
    later();
  } else {
    later();
    earlier();
  }
  size_.context_sent += back ? to_earlier : to_later;
  ++size_.context_exchanges;
}

// ---- The blocks.

void PassWalk::recurrent_forward() {
  const std::int64_t rnn = dims_.rnn.local(), states = shape_.sequences * rnn;
  for (const std::int64_t element : {c_, c_, c_, kFloat, kFloat, c_, c_})
    saved_.take(n_ * rnn * element);
  if (!cut_) return;
  {
    const tensor::ArenaScope scope(scratch_);  // the convolution
    saved_.take(states * kKept * c_);
    neighbour(c_, shape_.context_rank + 1 < shape_.context_ranks);
    scratch_.take(states * kKept * c_);
  }
  const tensor::ArenaScope scope(scratch_);  // the recurrence
  saved_.take(states * kFloat);
  scratch_.take(states * kFloat);
  scratch_.take(states * kFloat);
  fold();
  scratch_.take(states * kFloat);
}

void PassWalk::recurrent_backward() {
  const tensor::ArenaScope scope(scratch_);
  const std::int64_t rnn = dims_.rnn.local(), states = shape_.sequences * rnn;
  for (const std::int64_t element : {c_, c_, kFloat, kFloat, c_, c_})
    scratch_.take(n_ * rnn * element);
  if (cut_) {
    for (int i = 0; i < 3; ++i) scratch_.take(states * kFloat);
    fold();
  }
  scratch_.take(n_ * rnn * c_);
  if (!cut_) return;
  scratch_.take(states * kKept * kFloat);
  neighbour(kFloat, shape_.context_rank > 0);
}

// The scores of each tile of queries. The last queries see the most keys.
void PassWalk::tiles(std::size_t layer, bool backward) {
  const std::int64_t heads = dims_.heads.local(),
                     queries = std::clamp<std::int64_t>(256 / heads, 8, 128);
  for (std::int64_t begin = 0; begin < piece_.count; begin += queries) {
    const std::int64_t count = std::min(queries, piece_.count - begin);
    const std::int64_t span = count + std::min(piece_.begin + begin, config_.reach(layer));
    const tensor::ArenaScope scope(scratch_);
    const std::int64_t scores = count * heads * span;
    scratch_.take(scores * kFloat);
    if (backward) scratch_.take(scores * kFloat);
    if (c_ != kFloat) {
      scratch_.take(scores * c_);
      if (backward) scratch_.take(scores * c_);
    }
    // Once the window is full all tiles are alike, except the last one.
    const std::int64_t left = (piece_.count - begin - 1) / queries;
    if (left > 1 && piece_.begin + begin >= config_.reach(layer)) begin += (left - 1) * queries;
  }
}

void PassWalk::attention_forward(std::size_t layer) {
  const std::int64_t dim = dims_.head_dim, width = dims_.queries.local();
  for (const std::int64_t columns : {width, dim, dim, width}) saved_.take(n_ * columns * c_);
  saved_.take(n_ * dims_.heads.local() * kFloat);
  if (cut_) {
    const std::int64_t past = std::min(piece_.begin, config_.reach(layer));
    for (int i = 0; i < 2; ++i) {
      if (past > 0) saved_.take(shape_.sequences * (past + piece_.count) * dim * c_);
      past_keys(layer, c_, false);
    }
  }
  tiles(layer, false);
}

void PassWalk::attention_backward(std::size_t layer) {
  const tensor::ArenaScope scope(scratch_);
  const std::int64_t dim = dims_.head_dim, width = dims_.queries.local(),
                     past = cut_ ? std::min(piece_.begin, config_.reach(layer)) : 0,
                     keys = shape_.sequences * (past + piece_.count);
  scratch_.take(n_ * width * c_);
  scratch_.take(n_ * width * kFloat);
  for (int i = 0; i < 2; ++i) scratch_.take(keys * dim * kFloat);
  tiles(layer, true);
  if (cut_) {
    for (int i = 0; i < 2; ++i) {
      if (past > 0) scratch_.take(n_ * dim * kFloat);
      past_keys(layer, kFloat, true);
    }
  }
  for (const std::int64_t columns : {width, dim, dim}) scratch_.take(n_ * columns * c_);
}

}  // namespace eyrie::model
