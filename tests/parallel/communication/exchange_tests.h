// One body of checks of the exchange, over MPI (exchange_mpi_test.cc) and threads
// (exchange_test.cc).
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "parallel/communication/exchange.h"
#include "parallel/communication/exchange_queue.h"
#include "parallel/sharding/gradient_reference.h"
#include "support/tree_reduce_scatter.h"

namespace eyrie::parallel {

// Buffers must outlive the queue.
inline ExchangeQueue::Ticket post_reduce_scatter(ExchangeQueue& queue, const tensor::Tensor& buffer,
                                                 std::vector<std::int64_t> cuts,
                                                 const MicroShardPlan& plan) {
  return queue.post([&queue, buffer, cuts, plan, space = std::make_shared<ExchangeSpace>()] {
    return test::reduce_scatter(queue.communicator(0), buffer, cuts, plan, *space);
  });
}
inline ExchangeQueue::Ticket post_all_gather(ExchangeQueue& queue, const tensor::Tensor& buffer,
                                             std::vector<std::int64_t> cuts) {
  return queue.post(
      [&queue, buffer, cuts] { return all_gather(queue.communicator(0), buffer, cuts); });
}

// How a buffer is cut: even, uneven with empty slices, all on the last rank, all on the first.
inline std::vector<std::vector<std::int64_t>> cuts_to_try(std::int64_t size, int ranks) {
  std::vector<std::vector<std::int64_t>> all(4, std::vector<std::int64_t>(ranks + 1, 0));
  for (int rank = 1; rank <= ranks; ++rank) {
    all[0][rank] = size * rank / ranks;
    all[1][rank] = size * (rank / 2) * (rank / 2) / std::max(1, (ranks / 2) * (ranks / 2));
    all[2][rank] = rank == ranks ? size : 0;
    all[3][rank] = size;
  }
  for (auto& cuts : all) cuts[ranks] = size;
  return all;
}

// Micro-shards for which this number of ranks fits: one per rank, and more, in groups of a power of
// two.
inline std::vector<std::int64_t> micro_shards_to_try(int ranks) { return {ranks, 4 * ranks}; }

// Every unit is posted before the first is waited for, as in a backward pass; then the sums are
// gathered again.
inline void check_exchange(Communicator& comm, std::int64_t micro_shards,
                           const std::vector<std::int64_t>& sizes) {
  const int ranks = comm.size(), rank = comm.rank();
  const MicroShardPlan plan(micro_shards, ranks);
  std::vector<std::vector<float>> locals, sums;
  for (const std::int64_t size : sizes) {
    locals.push_back(local_sum(plan, rank, size));
    sums.push_back(reference_sum(micro_shards, size));
  }
  for (int kind = 0; kind < 4; ++kind) {
    ExchangeQueue queue({&comm});
    std::vector<std::vector<float>> buffers = locals;
    std::vector<std::vector<std::int64_t>> cuts;
    std::vector<ExchangeQueue::Ticket> tickets;
    for (const std::int64_t size : sizes) cuts.push_back(cuts_to_try(size, ranks)[kind]);
    for (std::size_t unit = 0; unit < sizes.size(); ++unit) {
      tickets.push_back(
          post_reduce_scatter(queue, tensor::host_row(buffers[unit]), cuts[unit], plan));
    }
    std::int64_t expected_bytes = 0;
    for (std::size_t unit = 0; unit < sizes.size(); ++unit) {
      queue.wait(tickets[unit]);
      const std::vector<float>& expected = sums[unit];
      const auto begin = cuts[unit][rank], end = cuts[unit][rank + 1];
      EXPECT_TRUE(same_bits({buffers[unit].begin() + begin, buffers[unit].begin() + end},
                            {expected.begin() + begin, expected.begin() + end}))
          << "rank " << rank << " of " << ranks << ", unit " << unit << ", cuts " << kind;
      // What is not ours must come from its owner.
      std::fill(buffers[unit].begin(), buffers[unit].begin() + begin, -7.0f);
      std::fill(buffers[unit].begin() + end, buffers[unit].end(), -7.0f);
      post_all_gather(queue, tensor::host_row(buffers[unit]), cuts[unit]);
      expected_bytes += 4 * (sizes[unit] - (end - begin)) + 4 * (end - begin) * (ranks - 1);
    }
    queue.wait_all();
    for (std::size_t unit = 0; unit < sizes.size(); ++unit) {
      EXPECT_TRUE(same_bits(buffers[unit], sums[unit]))
          << "rank " << rank << " of " << ranks << ", unit " << unit << ", cuts " << kind;
    }
    EXPECT_EQ(queue.counters().bytes_sent, expected_bytes);
    EXPECT_GE(queue.counters().busy_seconds, 0.0);
  }
}

// Elements of two bytes, as bf16 parameters are.
inline void check_gather_of_small_elements(Communicator& comm) {
  const int ranks = comm.size(), rank = comm.rank();
  const std::int64_t size = 5003;
  for (const auto& cuts : cuts_to_try(size, ranks)) {
    std::vector<tensor::BFloat16> values(size), expected(size);
    for (std::int64_t i = 0; i < size; ++i)
      expected[i].bits = static_cast<std::uint16_t>(i * 31 + 5);
    std::copy(expected.begin() + cuts[rank], expected.begin() + cuts[rank + 1],
              values.begin() + cuts[rank]);
    all_gather(comm, tensor::host_row(values), cuts);
    for (std::int64_t i = 0; i < size; ++i) ASSERT_EQ(values[i].bits, expected[i].bits) << i;
  }
}

}  // namespace eyrie::parallel
