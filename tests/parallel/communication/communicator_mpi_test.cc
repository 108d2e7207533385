// The communicator over MPI: the shared checks.
#include "parallel/communication/communicator.h"

#include <array>
#include <atomic>
#include <cstdlib>
#include <thread>

#include "parallel/communication/communicator_tests.h"
#include "support/world.h"

namespace eyrie::parallel {
namespace {

using test_support::test_world;

class MpiCommunicator : public testing::TestWithParam<int> {};

TEST_P(MpiCommunicator, Check) { communicator_checks()[GetParam()].run(test_world()); }

INSTANTIATE_TEST_SUITE_P(All, MpiCommunicator,
                         testing::Range(0, static_cast<int>(communicator_checks().size())),
                         [](const auto& info) {
                           return std::string(communicator_checks()[info.param].name);
                         });

TEST(MpiCommunicatorTest, RankOfThisThreadIsKnownToErrors) {
  EXPECT_EQ(base::rank(), test_world().size() > 1 ? test_world().rank() : -1);
}

// Counts of MPI are 32-bit: longer messages travel in pieces. By scripts/soak messages, since it
// takes 2.2 GB per rank.
TEST(MpiCommunicatorTest, MessagesBeyondTwoGigabytes) {
  if (std::getenv("EYRIE_LARGE_MESSAGES") == nullptr) GTEST_SKIP() << "scripts/soak messages";
  const Communicator& world = test_world();
  constexpr std::size_t kBytes = (std::size_t{1} << 31) + 1001;
  const std::array<std::size_t, 6> looked_at = {0,
                                                (std::size_t{1} << 30) - 1,
                                                std::size_t{1} << 30,
                                                (std::size_t{1} << 31) - 1,
                                                std::size_t{1} << 31,
                                                kBytes - 1};
  std::vector<std::byte> bytes(kBytes);
  const auto fill = [&](int rank) {
    for (std::size_t i = 0; i < looked_at.size(); ++i)
      bytes[looked_at[i]] = static_cast<std::byte>(10 * rank + static_cast<int>(i) + 1);
  };
  const auto expect = [&](int rank) {
    for (std::size_t i = 0; i < looked_at.size(); ++i)
      EXPECT_EQ(static_cast<int>(bytes[looked_at[i]]), 10 * rank + static_cast<int>(i) + 1)
          << looked_at[i];
  };
  if (world.rank() == 0) fill(0);
  test_world().broadcast(bytes, 0);
  expect(0);
  if (world.size() == 1) return;
  if (world.rank() == 0) {
    fill(1);
    test_world().send(bytes, 1, 5)->wait();
  } else if (world.rank() == 1) {
    test_world().receive(bytes, 0, 5)->wait();
    expect(1);
  }
  test_world().barrier();
}

// Two threads of a process, each with a communicator of its own, at the same time.
TEST(MpiCommunicatorTest, TwoThreadsTalkAtOnce) {
  const auto other = test_world().duplicate();
  std::thread thread([&] {
    for (int i = 0; i < 20; ++i) check_point_to_point(*other, 1000);
  });
  for (int i = 0; i < 20; ++i) {
    check_point_to_point(test_world(), 1000);
    test_world().barrier();
  }
  thread.join();
}

}  // namespace
}  // namespace eyrie::parallel
