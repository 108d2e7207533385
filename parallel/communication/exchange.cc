// Exchange of gradients and parameters: slices are sent directly to their owners, in pieces, and
// receives are posted first.
#include "parallel/communication/exchange.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/error.h"
#include "parallel/communication/progress.h"

namespace eyrie::parallel {
namespace {

constexpr int kReduceTag = 0;
constexpr int kGatherTag = 1;

using Requests = std::vector<std::unique_ptr<Request>>;

void wait_for(Requests& requests) {
  for (const auto& request : requests) request->wait();
  requests.clear();
}

void check_cuts(const Communicator& communicator, std::span<const std::int64_t> cuts,
                std::size_t elements) {
  EYRIE_CHECK(static_cast<int>(cuts.size()) == communicator.size() + 1,
              fmt::format("{} cuts for {} ranks", cuts.size(), communicator.size()));
  EYRIE_CHECK(cuts.front() == 0 && std::is_sorted(cuts.begin(), cuts.end()), "cuts ascend from 0");
  EYRIE_CHECK(static_cast<std::size_t>(cuts.back()) == elements,
              fmt::format("cuts end at {}, the buffer at {}", cuts.back(), elements));
}

// Slices, cut into pieces of at most `piece` elements.
struct Slices {
  std::span<const std::int64_t> cuts;
  std::int64_t piece;

  std::int64_t size(int rank) const { return cuts[rank + 1] - cuts[rank]; }
  std::int64_t pieces(int rank) const { return (size(rank) + piece - 1) / piece; }
  std::int64_t begin(int rank, std::int64_t number) const { return cuts[rank] + number * piece; }
  std::int64_t length(int rank, std::int64_t number) const {
    return std::min(piece, size(rank) - number * piece);
  }
  std::int64_t rounds() const {
    std::int64_t most = 0;
    for (int rank = 0; rank + 1 < static_cast<int>(cuts.size()); ++rank)
      most = std::max(most, pieces(rank));
    return most;
  }
};

}  // namespace

std::int64_t exchange_piece(int ranks) {
  return std::clamp<std::int64_t>((std::int64_t{8} << 20) / ranks, 64 << 10, 1 << 20);
}

namespace {

// Sends and receives the pieces of each round, as fp32 or rounded to bf16.
template <class Element>
class Rounds {
 public:
  Rounds(Communicator& ranks, std::span<float> buffer, const Slices& slices,
         std::vector<Element>& space)
      : ranks_(ranks), buffer_(buffer), slices_(slices), own_(ranks.rank()) {
    stride_ = std::min(slices.piece, slices.size(own_));
    const std::size_t received = 2 * others() * static_cast<std::size_t>(stride_);
    const std::size_t rounded = kRounds ? 2 * others() * static_cast<std::size_t>(slices.piece) : 0;
    space.resize(std::max(space.size(), received + rounded));
    received_ = space.data();
    rounded_ = space.data() + received;
  }

  // Two rounds are in flight at a time: one is being added while the next one is transferred.
  void start(std::int64_t round) {
    const int size = ranks_.size();
    if (round < slices_.pieces(own_)) {
      for (int from = 0; from < size; ++from) {
        if (from == own_) continue;
        const std::span<Element> piece(received(round, from),
                                       static_cast<std::size_t>(slices_.length(own_, round)));
        receives_[round % 2].push_back(
            ranks_.receive(std::as_writable_bytes(piece), from, kReduceTag));
      }
    }
    // Each rank starts with the rank after it, so that they do not all send to one owner at once.
    for (int distance = 1; distance < size; ++distance) {
      const int to = (own_ + distance) % size;
      if (round >= slices_.pieces(to)) continue;
      const auto partial_sums =
          buffer_.subspan(slices_.begin(to, round), slices_.length(to, round));
      const auto piece = std::as_bytes(in_comm_dtype(partial_sums, round, distance));
      sends_[round % 2].push_back(ranks_.send(piece, to, kReduceTag));
      sent_ += static_cast<std::int64_t>(piece.size());
    }
  }
  void wait_receives(std::int64_t round) { wait_for(receives_[round % 2]); }
  void wait_sends(std::int64_t round) { wait_for(sends_[round % 2]); }
  Element* received(std::int64_t round, int from) const {
    return received_ +
           ((round % 2) * static_cast<std::int64_t>(others()) + (from < own_ ? from : from - 1)) *
               stride_;
  }
  std::int64_t sent() const { return sent_; }

 private:
  static constexpr bool kRounds = !std::is_same_v<Element, float>;
  std::size_t others() const { return static_cast<std::size_t>(ranks_.size() - 1); }
  std::span<const Element> in_comm_dtype(std::span<float> partial_sums, std::int64_t round,
                                         int distance) {
    if constexpr (!kRounds) {
      return partial_sums;
    } else {
      Element* to = rounded_ + ((round % 2) * static_cast<std::int64_t>(others()) + distance - 1) *
                                   slices_.piece;
      for (std::size_t i = 0; i < partial_sums.size(); ++i)
        to[i] = tensor::to_bfloat16(partial_sums[i]).bits;
      return {to, partial_sums.size()};
    }
  }

  Communicator& ranks_;
  std::span<float> buffer_;
  Slices slices_;
  int own_;
  std::int64_t stride_ = 0, sent_ = 0;
  Element *received_ = nullptr, *rounded_ = nullptr;
  Requests receives_[2], sends_[2];
};

template <class Element>
std::int64_t scatter(Communicator& communicator, std::span<float> buffer, const Slices& slices,
                     const Combine& combine, ExchangeSpace& space,
                     std::vector<Element>& travelling) {
  constexpr bool kRounds = !std::is_same_v<Element, float>;
  const int ranks = communicator.size(), own = communicator.rank();
  Rounds<Element> travel(communicator, buffer, slices, travelling);
  if (kRounds) {
    space.partial_sums.resize(std::max<std::size_t>(
        space.partial_sums.size(), static_cast<std::size_t>((ranks - 1) * slices.piece)));
  }
  const std::int64_t rounds = slices.rounds();
  if (rounds > 0) travel.start(0);
  std::vector<float*> parts(static_cast<std::size_t>(ranks));
  for (std::int64_t round = 0; round < rounds; ++round) {
    if (round + 1 < rounds) travel.start(round + 1);
    travel.wait_receives(round);
    if (round < slices.pieces(own)) {
      const std::int64_t length = slices.length(own, round), begin = slices.begin(own, round);
      for (int rank = 0; rank < ranks; ++rank) {
        float*& part = parts[static_cast<std::size_t>(rank)];
        part = buffer.data() + begin;
        if constexpr (kRounds) {
          if (rank == own) {
            for (std::int64_t i = 0; i < length; ++i)
              part[i] = tensor::to_float(tensor::to_bfloat16(part[i]));
          } else {
            part = space.partial_sums.data() + (rank < own ? rank : rank - 1) * slices.piece;
            const Element* from = travel.received(round, rank);
            for (std::int64_t i = 0; i < length; ++i)
              part[i] = tensor::to_float(tensor::BFloat16{from[i]});
          }
        } else if (rank != own) {
          part = travel.received(round, rank);
        }
      }
      combine(parts, begin - slices.begin(own, 0), length);
    }
    travel.wait_sends(round);
  }
  return travel.sent();
}

}  // namespace

std::int64_t scatter_partial_sums(Communicator& communicator, std::span<float> buffer,
                                  std::span<const std::int64_t> cuts, tensor::DType comm_dtype,
                                  const Combine& combine, ExchangeSpace& space) {
  check_cuts(communicator, cuts, buffer.size());
  const Operation operation(communicator, "reduce_scatter", std::ssize(std::as_bytes(buffer)));
  const std::int64_t element = size_of(comm_dtype);
  const Slices slices{cuts, exchange_piece(communicator.size()) / element};
  if (comm_dtype == tensor::DType::kFloat32)
    return scatter(communicator, buffer, slices, combine, space, space.partial_sums);
  return scatter(communicator, buffer, slices, combine, space, space.rounded);
}

std::int64_t all_gather(Communicator& communicator, std::span<std::byte> buffer,
                        std::span<const std::int64_t> cuts, std::int64_t element_bytes) {
  EYRIE_CHECK(element_bytes > 0 && buffer.size() % element_bytes == 0, "whole elements");
  check_cuts(communicator, cuts, buffer.size() / element_bytes);
  const int ranks = communicator.size(), own = communicator.rank();
  if (ranks == 1) return 0;
  const Operation operation(communicator, "all_gather of slices", std::ssize(buffer));

  const Slices slices{cuts, exchange_piece(ranks) / element_bytes};
  auto piece_of = [&](int rank, std::int64_t round) {
    return buffer.subspan(slices.begin(rank, round) * element_bytes,
                          slices.length(rank, round) * element_bytes);
  };
  Requests pending[2];
  std::int64_t sent = 0;
  auto start = [&](std::int64_t round) {
    for (int from = 0; from < ranks; ++from) {
      if (from == own || round >= slices.pieces(from)) continue;
      pending[round % 2].push_back(communicator.receive(piece_of(from, round), from, kGatherTag));
    }
    if (round >= slices.pieces(own)) return;
    for (int distance = 1; distance < ranks; ++distance) {
      const auto piece = piece_of(own, round);
      pending[round % 2].push_back(communicator.send(piece, (own + distance) % ranks, kGatherTag));
      sent += static_cast<std::int64_t>(piece.size());
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
