// The exchange over threads: bits equal to those of one rank at every rank count, and failures that
// end every wait.
#include "parallel/communication/exchange_tests.h"

#include "base/error.h"
#include "support/watchdog.h"

namespace eyrie::parallel {
namespace {

using namespace std::chrono_literals;

class ExchangeTest : public testing::TestWithParam<int> {
 protected:
  test_support::Watchdog watchdog_{"an exchange in process", 120s};
};

TEST_P(ExchangeTest, SameBitsAsOneRank) {
  for (const std::int64_t micro_shards : micro_shards_to_try(GetParam())) {
    run_in_process(GetParam(), [&](Communicator& comm) {
      check_exchange(comm, micro_shards, {1, 0, 4099, 77});
    });
  }
}

TEST_P(ExchangeTest, SmallElements) { run_in_process(GetParam(), check_gather_of_small_elements); }

INSTANTIATE_TEST_SUITE_P(Ranks, ExchangeTest, testing::Values(1, 2, 3, 4, 6, 8, 16),
                         testing::PrintToStringParamName());

TEST(ExchangeQueueTest, LargeUnits) {
  run_in_process(3, [](Communicator& comm) {
    check_exchange(comm, 6, {3 * exchange_piece(2) / 4 + 11, 5});
  });
}

// The same sums on all rank counts that fit 24 micro-shards, through the whole path.
TEST(ExchangeQueueTest, OneStepOnEveryRankCount) {
  const std::int64_t size = 1001;
  const std::vector<float> expected = reference_sum(24, size);
  for (const std::int64_t ranks : fitting_rank_counts(24)) {
    run_in_process(static_cast<int>(ranks), [&](Communicator& comm) {
      const MicroShardPlan plan(24, comm.size());
      std::vector<float> buffer = local_sum(plan, comm.rank(), size);
      const auto cuts = cuts_to_try(size, comm.size())[0];
      ExchangeQueue queue({&comm});
      post_reduce_scatter(queue, tensor::host_row(buffer), cuts, plan);
      post_all_gather(queue, tensor::host_row(buffer), cuts);
      queue.wait_all();
      EXPECT_TRUE(same_bits(buffer, expected)) << ranks << " ranks";
    });
  }
}

// A rank throws with exchanges under way: its own queue gives up, the others' waits name the rank.
TEST(ExchangeQueueTest, AFailingRankEndsTheOthersWaits) {
  test_support::Watchdog watchdog("an exchange with a failing rank", 30s);
  std::vector<std::string> seen(3);
  EXPECT_THROW(run_in_process(3,
                              [&](Communicator& comm) {
                                std::vector<float> buffer(1000, 1.0f);
                                const auto cuts = cuts_to_try(1000, 3)[0];
                                ExchangeQueue queue({&comm}), other({&comm});
                                // Rank 1 posts one exchange that the others never join, then fails.
                                if (comm.rank() == 1) {
                                  post_all_gather(other, tensor::host_row(buffer), cuts);
                                  throw base::InputError("bad data block");
                                }
                                try {
                                  post_reduce_scatter(queue, tensor::host_row(buffer), cuts,
                                                      MicroShardPlan(3, 3));
                                  queue.wait_all();
                                } catch (const base::Error& error) {
                                  seen[comm.rank()] = error.what();
                                  EXPECT_THROW(queue.wait_all(), base::Error);  // and again
                                  throw;
                                }
                              }),
               base::InputError);
  for (const int rank : {0, 2}) EXPECT_EQ(seen[rank], "rank 1 has failed: bad data block");
}

// Ranks that disagree on the size of a unit get an error instead of wrong sums.
TEST(ExchangeQueueTest, DifferentUnitsAreAnError) {
  test_support::Watchdog watchdog("an exchange of different units", 30s);
  EXPECT_THROW(run_in_process(2,
                              [&](Communicator& comm) {
                                const std::int64_t size = comm.rank() == 0 ? 1000 : 900;
                                std::vector<float> buffer(size, 1.0f);
                                ExchangeQueue queue({&comm});
                                post_reduce_scatter(queue, tensor::host_row(buffer),
                                                    cuts_to_try(size, 2)[0], MicroShardPlan(2, 2));
                                queue.wait_all();
                              }),
               base::Error);
}

TEST(ExchangeQueueTest, EndsQuietlyWithoutWork) {
  run_in_process(4, [](Communicator& comm) { ExchangeQueue queue({&comm}); });
}

}  // namespace
}  // namespace eyrie::parallel
