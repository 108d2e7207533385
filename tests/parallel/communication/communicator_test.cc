// The communicators of threads and of a single rank: the shared checks, and what happens when a
// rank fails.
#include "parallel/communication/communicator.h"

#include <chrono>

#include "parallel/communication/communicator_tests.h"
#include "parallel/communication/run_guarded.h"
#include "support/watchdog.h"

namespace eyrie::parallel {
namespace {

using namespace std::chrono_literals;

class InProcessTest : public testing::TestWithParam<int> {
 protected:
  test_support::Watchdog watchdog_{"an in-process test", 60s};
};

TEST_P(InProcessTest, SharedChecks) {
  for (const NamedCheck& check : communicator_checks()) {
    SCOPED_TRACE(check.name);
    run_in_process(GetParam(), [&](Communicator& comm) {
      EXPECT_EQ(comm.size(), GetParam());
      check.run(comm);
    });
  }
}

TEST_P(InProcessTest, EveryRankRunsOnceWithItsNumber) {
  std::vector<int> runs(GetParam(), 0);
  run_in_process(GetParam(), [&](Communicator& comm) {
    runs[comm.rank()] += 1;
    EXPECT_EQ(base::rank(), comm.size() > 1 ? comm.rank() : -1);
  });
  EXPECT_EQ(runs, std::vector<int>(GetParam(), 1));
}

INSTANTIATE_TEST_SUITE_P(Ranks, InProcessTest, testing::Values(1, 2, 3, 4, 8, 16),
                         testing::PrintToStringParamName());

TEST(SingleTest, SharedChecks) {
  for (const NamedCheck& check : communicator_checks()) {
    SCOPED_TRACE(check.name);
    check.run(*open_single());
  }
}

TEST(SingleTest, ReceiveOfWhatWasNeverSentThrows) {
  const auto comm = open_single();
  std::vector<float> values(1);
  const auto receive = comm->receive(in(values), 0, 3);
  EXPECT_THROW(receive->wait(), base::Error);
}

// One rank throws while the others are in each kind of wait; all of them must end, and the error is
// the culprit's.
void expect_poison(const std::function<void(Communicator&)>& wait) {
  test_support::Watchdog watchdog("waiting for a rank that failed", 30s);
  std::vector<std::string> seen(4);
  try {
    run_in_process(4, [&](Communicator& comm) {
      if (comm.rank() == 2) throw base::InputError("disk of rank two is full");
      try {
        wait(comm);
        ADD_FAILURE() << "rank " << comm.rank() << " did not notice";
      } catch (const base::Error& error) {
        seen[comm.rank()] = error.what();
        throw;
      }
    });
    ADD_FAILURE() << "the error was lost";
  } catch (const base::InputError& error) {
    EXPECT_STREQ(error.what(), "disk of rank two is full");
  }
  for (int rank : {0, 1, 3}) EXPECT_EQ(seen[rank], "rank 2 has failed: disk of rank two is full");
}

TEST(PoisonTest, Barrier) {
  expect_poison([](Communicator& comm) { comm.barrier(); });
}
TEST(PoisonTest, Receive) {
  expect_poison([](Communicator& comm) {
    std::vector<float> values(4);
    comm.receive(in(values), 2, 0)->wait();
  });
}
TEST(PoisonTest, ReceiveFromARankThatIsFine) {
  expect_poison([](Communicator& comm) {
    std::vector<float> values(4);
    comm.receive(in(values), comm.rank(), 0)->wait();
  });
}
TEST(PoisonTest, Duplicate) {
  expect_poison([](Communicator& comm) { comm.duplicate(); });
}
TEST(PoisonTest, AgreeBeforeOthersArrive) {
  expect_poison([](Communicator& comm) { agree(comm, [] {}); });
}

TEST(PoisonTest, AbortNamesItsRank) {
  testing::internal::CaptureStderr();
  try {
    run_in_process(3, [](Communicator& comm) {
      if (comm.rank() == 1) comm.abort("the shard is truncated", 1);
      comm.barrier();
    });
    ADD_FAILURE();
  } catch (const base::Error& error) {
    EXPECT_STREQ(error.what(), "the shard is truncated");
  }
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "rank 1: the shard is truncated\n");
}

TEST(PoisonTest, WaitingForARankThatHasReturned) {
  test_support::Watchdog watchdog("waiting for a rank that returned", 30s);
  try {
    run_in_process(3, [](Communicator& comm) {
      if (comm.rank() != 1) comm.barrier();
    });
    ADD_FAILURE();
  } catch (const base::Error& error) {
    EXPECT_NE(std::string(error.what()).find("rank 1 has already returned"), std::string::npos)
        << error.what();
  }
}

TEST(PoisonTest, DifferentCollectivesAreNamed) {
  test_support::Watchdog watchdog("different collectives", 30s);
  try {
    run_in_process(2, [](Communicator& comm) {
      if (comm.rank() == 0)
        comm.barrier();
      else
        comm.all_gather("x");
    });
    ADD_FAILURE();
  } catch (const base::Error& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("barrier"), std::string::npos) << text;
    EXPECT_NE(text.find("all_gather"), std::string::npos) << text;
  }
}

TEST(GuardTest, StatusOfWhatIsThrown) {
  const auto comm = open_single();
  EXPECT_EQ(run_guarded(*comm, [] { return base::kExitStopped; }), base::kExitStopped);
  testing::internal::CaptureStderr();
  EXPECT_EQ(run_guarded(*comm, []() -> int { throw base::InputError("run.yaml:3: no such key"); }),
            base::kExitInput);
  EXPECT_EQ(run_guarded(*comm, []() -> int { throw base::Error("no space left"); }),
            base::kExitFailure);
  EXPECT_EQ(run_guarded(*comm, []() -> int { throw std::bad_alloc(); }), base::kExitFailure);
  EXPECT_EQ(testing::internal::GetCapturedStderr(),
            "eyrie: run.yaml:3: no such key\neyrie: no space left\n"
            "eyrie: out of memory: the system gave no more of it\n");
}

TEST(GuardTest, AgreedFailuresEndAllRanksAlike) {
  testing::internal::CaptureStderr();
  std::vector<int> statuses(3);
  run_in_process(3, [&](Communicator& comm) {
    statuses[comm.rank()] = run_guarded(comm, [&]() -> int {
      agree(comm, [&] {
        if (comm.rank() == 1) throw base::InputError("run.yaml:3: no such key");
      });
      return 0;
    });
  });
  EXPECT_EQ(statuses, std::vector<int>(3, base::kExitInput));
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "rank 1: run.yaml:3: no such key\n");
}

TEST(GuardTest, AFailureOfOneRankAborts) {
  testing::internal::CaptureStderr();
  EXPECT_THROW(run_in_process(2,
                              [&](Communicator& comm) {
                                run_guarded(comm, [&]() -> int {
                                  if (comm.rank() == 1) throw base::Error("bad block");
                                  return 0;
                                });
                              }),
               base::Error);
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "rank 1: bad block\n");
}

}  // namespace
}  // namespace eyrie::parallel
