// Exchanges of activations: every rank sends each other rank its part. Receives are posted first.
#include "parallel/communication/collectives.h"

#include <memory>
#include <vector>

#include "parallel/communication/progress.h"
#include "parallel/communication/tensor_bytes.h"
#include "tensor/ops/elementwise.h"

namespace eyrie::parallel {
namespace {

using tensor::DType;
using tensor::Tensor;

constexpr int kTag = 2;

Tensor part_rows(const Tensor& x, int ranks, int rank) {
  const Part part = part_of(x.rows(), ranks, rank);
  return x.row_range(part.begin, part.count);
}

// Calls `body` for all other ranks, starting with the next one, so that the ranks do not all send
// to the same rank at once.
template <class Body>
void for_others(const Communicator& ranks, const Body& body) {
  for (int distance = 1; distance < ranks.size(); ++distance)
    body((ranks.rank() + distance) % ranks.size());
}

}  // namespace

Part part_of(std::int64_t all, int ranks, int rank) {
  const std::int64_t begin = all * rank / ranks;
  return {begin, all * (rank + 1) / ranks - begin};
}

void send_and_receive(Communicator& ranks, std::span<const Message> sends,
                      std::span<const Message> receives) {
  const Operation operation(ranks, "exchange of activations");
  std::vector<std::unique_ptr<Request>> pending;
  for (const Message& message : receives) {
    if (message.data.count() > 0)
      pending.push_back(ranks.receive(bytes_of(message.data), message.rank, kTag));
  }
  for (const Message& message : sends) {
    if (message.data.count() > 0)
      pending.push_back(ranks.send(bytes_of(message.data), message.rank, kTag));
  }
  for (const auto& request : pending) request->wait();
}

void reduce_scatter_rows(Communicator& ranks, const Tensor& all, const Tensor& own,
                         DType comm_dtype, tensor::Arena& scratch) {
  const int size = ranks.size(), rank = ranks.rank();
  if (size == 1) {
    if (own.data() != all.data()) tensor::copy(all, own);
    return;
  }
  tensor::ArenaScope scope(scratch);
  Tensor partial_sums = all;
  if (comm_dtype != DType::kFloat32) {
    partial_sums = scratch.allocate(comm_dtype, all.rows(), all.columns());
    tensor::convert(all, partial_sums);
  }
  const Tensor others = scratch.allocate(comm_dtype, own.rows() * (size - 1), own.columns());
  const auto other = [&](int from) {
    return others.row_range(own.rows() * (from < rank ? from : from - 1), own.rows());
  };
  std::vector<Message> sends, receives;
  for_others(ranks, [&](int to) {
    sends.push_back({to, part_rows(partial_sums, size, to)});
    receives.push_back({to, other(to)});
  });
  send_and_receive(ranks, sends, receives);
  // Adds in rank order, from rank 0 on. This rank's partial sum may lie where the result goes: it
  // is copied first, unless it is the first one.
  Tensor mine = part_rows(partial_sums, size, rank);
  if (rank != 0 && mine.data() == own.data()) {
    const Tensor aside = scratch.allocate(mine.dtype(), mine.rows(), mine.columns());
    tensor::copy(mine, aside);
    mine = aside;
  }
  const auto term = [&](int from) { return from == rank ? mine : other(from); };
  if (term(0).data() != own.data()) tensor::convert(term(0), own);
  for (int from = 1; from < size; ++from) tensor::add(term(from), own);
}

void all_gather_rows(Communicator& ranks, const Tensor& own, const Tensor& all) {
  const int size = ranks.size();
  const Tensor place = part_rows(all, size, ranks.rank());
  if (place.data() != own.data()) tensor::copy(own, place);
  if (size == 1) return;
  std::vector<Message> sends, receives;
  for_others(ranks, [&](int other) {
    sends.push_back({other, place});
    receives.push_back({other, part_rows(all, size, other)});
  });
  send_and_receive(ranks, sends, receives);
}

void all_reduce_rows(Communicator& ranks, const Tensor& x, DType comm_dtype,
                     tensor::Arena& scratch) {
  if (ranks.size() == 1) return;
  const Tensor own = part_rows(x, ranks.size(), ranks.rank());
  reduce_scatter_rows(ranks, x, own, comm_dtype, scratch);
  if (comm_dtype == DType::kFloat32) return all_gather_rows(ranks, own, x);
  tensor::ArenaScope scope(scratch);
  const Tensor rounded = scratch.allocate(comm_dtype, x.rows(), x.columns());
  tensor::convert(own, part_rows(rounded, ranks.size(), ranks.rank()));
  all_gather_rows(ranks, part_rows(rounded, ranks.size(), ranks.rank()), rounded);
  tensor::convert(rounded, x);
}

}  // namespace eyrie::parallel
