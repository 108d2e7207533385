// The board of operations; calls that differ between ranks, and waits that take too long,
// in-process.
#include "parallel/communication/progress.h"
#include "parallel/communication/job.h"

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <functional>
#include <regex>
#include <thread>

#include "base/error.h"
#include "parallel/communication/communicator.h"
#include "parallel/communication/exchange.h"
#include "support/watchdog.h"

namespace eyrie::parallel {
namespace {

using namespace std::chrono_literals;

TEST(ProgressTest, OperationsAreCountedAndNestedOnesAreNot) {
  Progress progress("data", "world/1:0", {0, 2});
  EXPECT_EQ(progress.state().number, 0);
  EXPECT_EQ(progress.enter("barrier"), 1);
  EXPECT_EQ(progress.enter("broadcast"), 0);
  progress.enter_message("a message from", 2);
  EXPECT_STREQ(progress.state().operation, "barrier");
  EXPECT_EQ(progress.state().peer, -1);
  progress.leave();
  progress.leave();
  EXPECT_TRUE(progress.state().inside);
  progress.leave();
  EXPECT_FALSE(progress.state().inside);
  {
    const MessageWait waits(progress, "a message from", 2);
    EXPECT_TRUE(progress.state().inside);
    EXPECT_EQ(progress.state().peer, 2);
    EXPECT_EQ(progress.state().number, 1);
  }
  EXPECT_EQ(progress.enter("split"), 2);
}

TEST(ProgressTest, AJobListsWhatLives) {
  Job job;
  auto progress = std::make_shared<const Progress>("data", "a", std::vector<int>{0, 1});
  job.add(progress);
  ASSERT_EQ(job.all_progress().size(), 1u);
  EXPECT_EQ(job.all_progress().back()->identity(), "a");
  progress.reset();
  EXPECT_TRUE(job.all_progress().empty());
}

TEST(ProgressTest, RanksInFewWords) {
  EXPECT_EQ(rank_list({}), "none");
  EXPECT_EQ(rank_list({7}), "rank 7");
  EXPECT_EQ(rank_list({1, 2}), "ranks 1, 2");
  EXPECT_EQ(rank_list({0, 2, 3, 4, 6, 7, 9}), "ranks 0, 2-4, 6, 7, 9");
}

TEST(ProgressTest, WhatDiffersIsNamed) {
  EXPECT_EQ(difference("data", {{4, "barrier", 3, -1, -1}, {2, "barrier", 3, -1, -1}}), "");
  EXPECT_EQ(
      difference("data",
                 {{4, "broadcast", 3, 8, 1}, {2, "broadcast", 3, 8, 0}, {0, "broadcast", 3, 8, 1}}),
      "the ranks of 'data' differ in operation 3: broadcast with root 1 of 8 bytes on ranks "
      "0, 4, broadcast with root 0 of 8 bytes on rank 2");
}

std::string failure_of(int ranks, const std::function<void(Communicator&)>& body,
                       WaitLimit limit = {}) {
  test_support::Watchdog watchdog("ranks that differ", 30s);
  try {
    run_in_process(ranks, body, limit);
  } catch (const base::Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(OrderTest, EachKindOfDifferenceInProcess) {
  const std::vector<std::pair<std::function<void(Communicator&)>, std::string>> cases = {
      {[](Communicator& comm) { comm.rank() == 1 ? comm.barrier() : (void)comm.duplicate(); },
       "duplicate on ranks? [02].*, barrier on rank 1|barrier on rank 1, duplicate on ranks? [02]"},
      {[](Communicator& comm) {
         std::array<double, 3> values = {};
         comm.all_reduce(std::span(values).first(comm.rank() == 2 ? 2 : 3), Reduce::kSum);
       },
       "all_reduce .sum. of (24|16) bytes on .*, all_reduce .sum. of (24|16) bytes"},
      {[](Communicator& comm) {
         std::array<double, 1> value = {};
         comm.all_reduce(value, comm.rank() == 2 ? Reduce::kMax : Reduce::kSum);
       },
       "all_reduce .max. of 8 bytes on rank 2"},
      {[](Communicator& comm) {
         std::array<double, 1> value = {};
         comm.broadcast(std::as_writable_bytes(std::span(value)), comm.rank() == 0 ? 1 : 0);
       },
       "broadcast with root 1 of 8 bytes on rank 0"},
      {[](Communicator& comm) {
         std::vector<float> values(30);
         const std::vector<std::int64_t> cuts = {0, 10, 20, 30};
         if (comm.rank() == 0) comm.barrier();
         all_gather(comm, tensor::host_row(values), cuts);
       },
       "barrier on rank 0|all_gather of slices of 120 bytes on rank"},
  };
  for (const auto& [body, expected] : cases) {
    const std::string text = failure_of(3, body);
    EXPECT_TRUE(text.starts_with("the ranks of 'world' differ in operation 1: ")) << text;
    EXPECT_TRUE(std::regex_search(text, std::regex(expected))) << text;
  }
}

TEST(WaitLimitTest, ACollectiveNamesWhoArrived) {
  const std::string text = failure_of(
      4,
      [](Communicator& comm) {
        const auto half = comm.split(comm.rank() % 2, comm.rank(), "half");
        half->barrier();
        if (comm.rank() == 3) std::this_thread::sleep_for(1s);
        if (comm.rank() % 2 == 1) half->all_gather("x");
      },
      200ms);
  EXPECT_EQ(text,
            "'half' all_gather 2 has not ended within 0.2 s; arrived: rank 1; did not arrive: rank "
            "3");
}

TEST(WaitLimitTest, AnExchangeOfMessagesNamesWhoArrived) {
  const std::string text = failure_of(
      3,
      [](Communicator& comm) {
        std::vector<float> values(30);
        const std::vector<std::int64_t> cuts = {0, 10, 20, 30};
        all_gather(comm, tensor::host_row(values), cuts);
        if (comm.rank() == 1) std::this_thread::sleep_for(1s);
        all_gather(comm, tensor::host_row(values), cuts);
      },
      200ms);
  EXPECT_EQ(text,
            "'world' all_gather of slices 2 has not ended within 0.2 s; arrived: ranks 0, 2; did "
            "not arrive: rank 1");
}

TEST(WaitLimitTest, ASingleMessageNamesItsSender) {
  const std::string text = failure_of(
      2,
      [](Communicator& comm) {
        std::vector<float> value(1);
        if (comm.rank() == 0)
          comm.receive(std::as_writable_bytes(std::span(value)), 1, 0)->wait();
        else
          std::this_thread::sleep_for(1s);
      },
      200ms);
  EXPECT_EQ(text, "a message from rank 1 on 'world' has not come within 0.2 s");
}

TEST(WaitLimitTest, ShortWaitsPass) {
  EXPECT_EQ(failure_of(
                4,
                [](Communicator& comm) {
                  for (int i = 0; i < 5; ++i) {
                    if (comm.rank() == i % 4) std::this_thread::sleep_for(50ms);
                    comm.barrier();
                  }
                },
                5s),
            "no error");
}

}  // namespace
}  // namespace eyrie::parallel
