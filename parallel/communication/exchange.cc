// Exchange of gradients and parameters: slices are sent directly to their owners, in pieces, and
// receives are posted first.
#include "parallel/communication/exchange.h"

#include <algorithm>
#include <memory>
#include <vector>

#include <fmt/format.h>

#include "base/error.h"
#include "parallel/communication/progress.h"
#include "parallel/communication/tensor_bytes.h"
#include "tensor/ops/elementwise.h"

namespace eyrie::parallel {
namespace {

constexpr int kReduceTag = 0;
constexpr int kGatherTag = 1;

using tensor::DType;
using tensor::Tensor;
using Requests = std::vector<std::unique_ptr<Request>>;

void wait_for(Requests& requests) {
  for (const auto& request : requests) request->wait();
  requests.clear();
}

void check_cuts(const Communicator& communicator, const Cuts& cuts, const Tensor& buffer) {
  EYRIE_CHECK(cuts.ranks() == communicator.size(),
              fmt::format("cuts for {} ranks on {}", cuts.ranks(), communicator.size()));
  const std::int64_t end = cuts[cuts.ranks()];
  EYRIE_CHECK(buffer.rows() == 1 && end == buffer.columns(),
              fmt::format("cuts end at {}, the buffer at {}", end, buffer.columns()));
}

// Slices, cut into pieces of at most `piece` elements.
struct Slices {
  const Cuts& cuts;
  std::int64_t piece;

  std::int64_t size(int rank) const { return cuts.size(rank); }
  std::int64_t pieces(int rank) const { return (size(rank) + piece - 1) / piece; }
  std::int64_t begin(int rank, std::int64_t number) const { return cuts[rank] + number * piece; }
  std::int64_t length(int rank, std::int64_t number) const {
    return std::min(piece, size(rank) - number * piece);
  }
  std::int64_t rounds() const {
    std::int64_t most = 0;
    for (int rank = 0; rank < cuts.ranks(); ++rank) most = std::max(most, pieces(rank));
    return most;
  }
  Tensor of(const Tensor& buffer, int rank, std::int64_t number) const {
    return buffer.column_range(begin(rank, number), length(rank, number));
  }
};

// Returns `rows` rows of memory in `buffer`, which grows if it is too small.
Tensor room(tensor::Buffer& buffer, DType dtype, std::int64_t rows, std::int64_t columns,
            tensor::Device device) {
  const auto bytes = static_cast<std::size_t>(rows * columns * size_of(dtype));
  if (buffer.size() < bytes) {
    buffer = tensor::Buffer();  // free the smaller one first
    buffer = tensor::Buffer(bytes, device);
  }
  return buffer.view(dtype, rows, columns);
}

// The messages of scatter_partial_sums(), in rounds of one piece per rank. Two rounds are in flight
// at a time: one is being added while the next one is transferred.
class Rounds {
 public:
  Rounds(Communicator& ranks, const Tensor& buffer, const Slices& slices, DType comm_dtype,
         ExchangeSpace& space)
      : ranks_(ranks),
        buffer_(buffer),
        slices_(slices),
        own_(ranks.rank()),
        rounds_(comm_dtype != DType::kFloat32) {
    const std::int64_t others = ranks.size() - 1;
    received_ = room(space.received, comm_dtype, 2 * others,
                     std::min(slices.piece, slices.size(own_)), buffer.device());
    if (!rounds_) return;
    rounded_ = room(space.rounded, comm_dtype, 2 * others, slices.piece, buffer.device());
    widened_ = room(space.widened, DType::kFloat32, others, slices.piece, buffer.device());
  }

  void start(std::int64_t round) {
    const int size = ranks_.size();
    if (round < slices_.pieces(own_)) {
      for (int from = 0; from < size; ++from) {
        if (from == own_) continue;
        receives_[round % 2].push_back(
            ranks_.receive(bytes_of(received(round, from)), from, kReduceTag));
      }
    }
    // Each rank starts with the rank after it, so that they do not all send to one owner at once.
    for (int distance = 1; distance < size; ++distance) {
      const int to = (own_ + distance) % size;
      if (round >= slices_.pieces(to)) continue;
      Tensor piece = slices_.of(buffer_, to, round);
      if (rounds_) {
        const Tensor rounded =
            rounded_.row_range(slot(round, distance - 1), 1).column_range(0, piece.columns());
        tensor::convert(piece, rounded);
        piece = rounded;
      }
      const std::span<const std::byte> bytes = bytes_of(piece);
      sends_[round % 2].push_back(ranks_.send(bytes, to, kReduceTag));
      sent_ += std::ssize(bytes);
    }
  }

  // Waits for the round's messages to this rank, and returns all ranks' partial sums in fp32.
  std::span<const Tensor> parts(std::int64_t round) {
    wait_for(receives_[round % 2]);
    parts_.clear();
    for (int rank = 0; rank < ranks_.size(); ++rank) {
      if (rank == own_) {
        parts_.push_back(slices_.of(buffer_, own_, round));
        if (rounds_) tensor::round_to_bfloat16(parts_.back());
      } else if (!rounds_) {
        parts_.push_back(received(round, rank));
      } else {
        parts_.push_back(
            widened_.row_range(other(rank), 1).column_range(0, slices_.length(own_, round)));
        tensor::convert(received(round, rank), parts_.back());
      }
    }
    return parts_;
  }
  void wait_sends(std::int64_t round) { wait_for(sends_[round % 2]); }
  std::int64_t sent() const { return sent_; }

 private:
  std::int64_t other(int rank) const { return rank < own_ ? rank : rank - 1; }
  std::int64_t slot(std::int64_t round, std::int64_t other) const {
    return round % 2 * (ranks_.size() - 1) + other;
  }
  Tensor received(std::int64_t round, int from) const {
    return received_.row_range(slot(round, other(from)), 1)
        .column_range(0, slices_.length(own_, round));
  }

  Communicator& ranks_;
  Tensor buffer_;
  Slices slices_;
  int own_;
  bool rounds_;  // messages are bf16
  std::int64_t sent_ = 0;
  Tensor received_, rounded_, widened_;  // a row per message; the last two for bf16 messages
  std::vector<Tensor> parts_;
  Requests receives_[2], sends_[2];
};

}  // namespace

std::int64_t exchange_piece(int ranks) {
  return std::clamp<std::int64_t>((std::int64_t{8} << 20) / ranks, 64 << 10, 1 << 20);
}

namespace {

// Counts elements that would be sent, on meta. Returns their bytes.
std::int64_t count(Communicator& communicator, std::int64_t elements, DType dtype) {
  const std::int64_t bytes = elements * size_of(dtype);
  communicator.count_sent(bytes);
  return bytes;
}

}  // namespace

std::int64_t scatter_partial_sums(Communicator& communicator, const Tensor& buffer,
                                  const Cuts& cuts, DType comm_dtype, const Combine& combine,
                                  ExchangeSpace& space) {
  check_cuts(communicator, cuts, buffer);
  const Operation operation(communicator, "reduce_scatter", std::ssize(bytes_of(buffer)));
  const Slices slices{cuts, exchange_piece(communicator.size()) / size_of(comm_dtype)};
  const int own = communicator.rank();
  Rounds travel(communicator, buffer, slices, comm_dtype, space);
  if (buffer.device() == tensor::Device::kMeta)  // all slices but its own
    return count(communicator, buffer.count() - slices.size(own), comm_dtype);
  const std::int64_t rounds = slices.rounds();
  if (rounds > 0) travel.start(0);
  for (std::int64_t round = 0; round < rounds; ++round) {
    if (round + 1 < rounds) travel.start(round + 1);
    if (round < slices.pieces(own)) combine(travel.parts(round), round * slices.piece);
    travel.wait_sends(round);
  }
  return travel.sent();
}

std::int64_t all_gather(Communicator& communicator, const Tensor& buffer, const Cuts& cuts) {
  check_cuts(communicator, cuts, buffer);
  const int ranks = communicator.size(), own = communicator.rank();
  if (ranks == 1) return 0;
  const Operation operation(communicator, "all_gather of slices", std::ssize(bytes_of(buffer)));

  const Slices slices{cuts, exchange_piece(ranks) / size_of(buffer.dtype())};
  if (buffer.device() == tensor::Device::kMeta)  // its own slice to all others
    return count(communicator, slices.size(own) * (ranks - 1), buffer.dtype());
  Requests pending[2];
  std::int64_t sent = 0;
  auto start = [&](std::int64_t round) {
    for (int from = 0; from < ranks; ++from) {
      if (from == own || round >= slices.pieces(from)) continue;
      pending[round % 2].push_back(
          communicator.receive(bytes_of(slices.of(buffer, from, round)), from, kGatherTag));
    }
    if (round >= slices.pieces(own)) return;
    for (int distance = 1; distance < ranks; ++distance) {
      const std::span<const std::byte> piece = bytes_of(slices.of(buffer, own, round));
      pending[round % 2].push_back(communicator.send(piece, (own + distance) % ranks, kGatherTag));
      sent += std::ssize(piece);
    }
  };

  const std::int64_t rounds = slices.rounds();
  if (rounds > 0) start(0);
  for (std::int64_t round = 0; round < rounds; ++round) {
    if (round + 1 < rounds) start(round + 1);
    wait_for(pending[round % 2]);
  }
  return sent;
}

}  // namespace eyrie::parallel
