// The communicator over MPI: the shared checks.
#include "parallel/communication/communicator.h"

#include <atomic>
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
