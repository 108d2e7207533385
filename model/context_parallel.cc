// Exchanges between context ranks.
#include "model/context_parallel.h"

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "tensor/ops/elementwise.h"

namespace eyrie::model {

using parallel::Message;
using parallel::Part;
using tensor::Tensor;

parallel::Part piece_of(std::int64_t length, const parallel::Communicator* context) {
  if (context == nullptr) return {0, length};
  return parallel::part_of(length, context->size(), context->rank());
}

namespace {

// Rows [first, first + count) of every sequence of x, one after the other.
Tensor pack(const Tensor& x, std::int64_t sequences, std::int64_t first, std::int64_t count,
            tensor::Arena& scratch) {
  const Tensor packed = scratch.allocate(x.dtype(), sequences * count, x.columns());
  const std::int64_t length = x.rows() / sequences;
  for (std::int64_t s = 0; s < sequences; ++s)
    tensor::copy(x.row_range(s * length + first, count), packed.row_range(s * count, count));
  return packed;
}

}  // namespace

void rows_before(parallel::Communicator& context, const Tensor& rows, std::int64_t sequences,
                 const Tensor& before, tensor::Arena& scratch) {
  tensor::ArenaScope scope(scratch);
  const std::int64_t length = rows.rows() / sequences, count = before.rows() / sequences;
  std::vector<Message> sends, receives;
  if (context.rank() + 1 < context.size())
    sends.push_back({context.rank() + 1, pack(rows, sequences, length - count, count, scratch)});
  if (context.rank() > 0) {
    receives.push_back({context.rank() - 1, before});
  } else {
    tensor::zero(before);
  }
  parallel::send_and_receive(context, sends, receives);
}

void rows_after(parallel::Communicator& context, const Tensor& rows, std::int64_t sequences,
                const Tensor& after, tensor::Arena& scratch) {
  tensor::ArenaScope scope(scratch);
  const std::int64_t count = after.rows() / sequences;
  std::vector<Message> sends, receives;
  if (context.rank() > 0)
    sends.push_back({context.rank() - 1, pack(rows, sequences, 0, count, scratch)});
  if (context.rank() + 1 < context.size()) {
    receives.push_back({context.rank() + 1, after});
  } else {
    tensor::zero(after);
  }
  parallel::send_and_receive(context, sends, receives);
}

void fold_pieces(parallel::Communicator& context, const Tensor& product, const Tensor& rest,
                 bool from_end, const Tensor& start, tensor::Arena& scratch) {
  tensor::ArenaScope scope(scratch);
  const std::int64_t count = product.count();
  const Tensor own = scratch.allocate(tensor::DType::kFloat32, 2, count);
  tensor::copy(product, own.row_range(0, 1));
  tensor::copy(rest, own.row_range(1, 1));
  const Tensor all = scratch.allocate(tensor::DType::kFloat32, context.size(), 2 * count);
  parallel::all_gather_rows(context, own.reshaped(1, 2 * count), all);
  tensor::zero(start);
  const int last = context.size() - 1;
  for (int i = 0; i < (from_end ? last - context.rank() : context.rank()); ++i) {
    const Tensor map = all.row_range(from_end ? last - i : i, 1);
    tensor::affine(map.column_range(0, count), map.column_range(count, count), start);
  }
}

std::int64_t KeyPieces::past(int rank) const {
  return std::min(reach, parallel::part_of(length, context.size(), rank).begin);
}

namespace {

// The positions whose keys rank `reader` needs from the earlier rank `owner`.
Part needed(const KeyPieces& pieces, int reader, int owner) {
  const Part own = parallel::part_of(pieces.length, pieces.context.size(), owner);
  const std::int64_t end = parallel::part_of(pieces.length, pieces.context.size(), reader).begin;
  const std::int64_t begin = std::max(own.begin, end - pieces.past(reader));
  return {begin, std::max<std::int64_t>(0, std::min(own.end(), end) - begin)};
}

// The layout of a rank's rows of each sequence: past rows of earlier ranks, then its own.
struct Rows {
  explicit Rows(const KeyPieces& pieces)
      : own(parallel::part_of(pieces.length, pieces.context.size(), pieces.context.rank())),
        past(pieces.past(pieces.context.rank())),
        stride(past + own.count) {}
  // The row of position `at` of sequence s.
  std::int64_t row(std::int64_t s, std::int64_t at) const {
    return s * stride + past - (own.begin - at);
  }
  std::int64_t own_row(std::int64_t s, std::int64_t at) const {
    return s * own.count + at - own.begin;
  }
  Part own;
  std::int64_t past, stride;
};

// Sends keys to later ranks, or with `back` their gradients to earlier ranks. Every sequence in
// `from` begins at position `first`.
std::vector<Message> exchange_past(const KeyPieces& pieces, const Tensor& from, std::int64_t first,
                                   bool back, tensor::Arena& scratch) {
  const int rank = pieces.context.rank();
  const auto others = [&](bool later, const auto& message) {
    std::vector<Message> messages;
    for (int other = later ? rank + 1 : 0; other < (later ? pieces.context.size() : rank);
         ++other) {
      const Part part = later ? needed(pieces, other, rank) : needed(pieces, rank, other);
      if (part.count > 0) messages.push_back({other, message(part)});
    }
    return messages;
  };
  const auto sends = others(!back, [&](Part part) {
    return pack(from, pieces.sequences, part.begin - first, part.count, scratch);
  });
  auto receives = others(back, [&](Part part) {
    return scratch.allocate(from.dtype(), pieces.sequences * part.count, from.columns());
  });
  parallel::send_and_receive(pieces.context, sends, receives);
  return receives;
}

}  // namespace

void fetch_past(const KeyPieces& pieces, const Tensor& own, const Tensor& all,
                tensor::Arena& scratch) {
  tensor::ArenaScope scope(scratch);
  const int rank = pieces.context.rank();
  const Rows rows(pieces);
  const auto receives = exchange_past(pieces, own, rows.own.begin, false, scratch);
  for (std::int64_t s = 0; s < pieces.sequences; ++s) {
    for (const Message& message : receives) {
      const Part part = needed(pieces, rank, message.rank);
      tensor::copy(message.data.row_range(s * part.count, part.count),
                   all.row_range(rows.row(s, part.begin), part.count));
    }
    if (own.data() != all.data()) {
      tensor::copy(own.row_range(s * rows.own.count, rows.own.count),
                   all.row_range(rows.row(s, rows.own.begin), rows.own.count));
    }
  }
}

void return_past(const KeyPieces& pieces, const Tensor& all, const Tensor& own,
                 tensor::Arena& scratch) {
  tensor::ArenaScope scope(scratch);
  const int rank = pieces.context.rank();
  const Rows rows(pieces);
  const auto receives = exchange_past(pieces, all, rows.own.begin - rows.past, true, scratch);
  for (std::int64_t s = 0; s < pieces.sequences; ++s) {
    if (own.data() != all.data()) {
      tensor::copy(all.row_range(rows.row(s, rows.own.begin), rows.own.count),
                   own.row_range(s * rows.own.count, rows.own.count));
    }
    for (const Message& message : receives) {
      const Part part = needed(pieces, message.rank, rank);
      tensor::add(message.data.row_range(s * part.count, part.count),
                  own.row_range(rows.own_row(s, part.begin), part.count));
    }
  }
}

}  // namespace eyrie::model
