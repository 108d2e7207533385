// The exchange over MPI: bits equal to those of one rank, at every rank count.
#include "parallel/communication/exchange_tests.h"
#include "support/world.h"

namespace eyrie::parallel {
namespace {

using test_support::test_world;

TEST(MpiExchange, SameBitsAsOneRank) {
  for (const std::int64_t micro_shards : micro_shards_to_try(test_world().size())) {
    check_exchange(test_world(), micro_shards, {1, 0, 4099, 77});
  }
}

// Slices of several pieces, the last one short.
TEST(MpiExchange, LargeUnits) {
  check_exchange(test_world(), 2 * test_world().size(), {3 * exchange_piece(2) / 4 + 11, 5});
}

TEST(MpiExchange, SmallElements) { check_gather_of_small_elements(test_world()); }

// The exchange runs while this thread uses the world for control values.
TEST(MpiExchange, ControlValuesMeanwhile) {
  ExchangeQueue queue({&test_world()});
  const int ranks = test_world().size();
  const MicroShardPlan plan(ranks, ranks);
  const std::int64_t size = 600000;
  const auto cuts = cuts_to_try(size, ranks)[0];
  std::vector<float> buffer(size, 1.0f);
  post_reduce_scatter(queue, tensor::host_row(buffer), cuts, plan);
  for (int i = 0; i < 10; ++i) {
    std::vector<std::int64_t> value = {1};
    test_world().all_reduce(std::span(value), Reduce::kSum);
    EXPECT_EQ(value[0], ranks);
  }
  queue.wait_all();
  for (std::int64_t i = cuts[test_world().rank()]; i < cuts[test_world().rank() + 1]; ++i) {
    ASSERT_EQ(buffer[i], static_cast<float>(ranks));
  }
}

}  // namespace
}  // namespace eyrie::parallel
