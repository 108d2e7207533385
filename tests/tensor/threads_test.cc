// parallel_for: every index once, exceptions, nesting, the grain.
#include "tensor/threads.h"

#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <stdexcept>
#include <vector>

namespace eyrie::tensor {
namespace {

class Threads : public testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    before_ = thread_count();
    set_thread_count(GetParam());
  }
  void TearDown() override { set_thread_count(before_); }

 private:
  int before_ = 1;
};

TEST_P(Threads, EveryIndexOnce) {
  for (const std::int64_t count : {0, 1, 2, 3, 7, 100, 1001}) {
    for (const std::int64_t grain : {0, 1, 3, 64, 5000}) {
      std::vector<std::atomic<int>> seen(static_cast<std::size_t>(count));
      std::atomic<int> pieces = 0;
      parallel_for(count, grain, [&](std::int64_t begin, std::int64_t end) {
        ++pieces;
        EXPECT_LT(begin, end);
        for (std::int64_t i = begin; i < end; ++i) ++seen[static_cast<std::size_t>(i)];
      });
      for (const auto& times : seen) ASSERT_EQ(times, 1) << count << " by " << grain;
      EXPECT_LE(pieces, GetParam());
      if (grain >= count) {
        EXPECT_LE(pieces, 1) << count << " by " << grain;
      }
    }
  }
}

TEST_P(Threads, AnExceptionReachesTheCaller) {
  const auto run = [&](std::int64_t bad) {
    parallel_for(30, 1, [&](std::int64_t begin, std::int64_t end) {
      if (begin <= bad && bad < end) throw std::runtime_error("index " + std::to_string(bad));
    });
  };
  for (const std::int64_t bad : {0, 15, 29}) {
    try {
      run(bad);
      FAIL() << "nothing thrown";
    } catch (const std::runtime_error& error) {
      EXPECT_EQ(error.what(), "index " + std::to_string(bad));
    }
  }
  std::atomic<int> done = 0;  // and the threads still work
  parallel_for(
      30, 1, [&](std::int64_t begin, std::int64_t end) { done += static_cast<int>(end - begin); });
  EXPECT_EQ(done, 30);
}

TEST_P(Threads, NestedCallsStayInTheirThread) {
  std::mutex mutex;
  std::vector<int> inner_pieces;
  std::atomic<std::int64_t> sum = 0;
  parallel_for(6, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      int pieces = 0;
      parallel_for(10, 1, [&](std::int64_t from, std::int64_t to) {
        ++pieces;
        for (std::int64_t j = from; j < to; ++j) sum += i * 10 + j;
      });
      const std::lock_guard lock(mutex);
      inner_pieces.push_back(pieces);
    }
  });
  EXPECT_EQ(sum, 59 * 60 / 2);
  EXPECT_EQ(inner_pieces.size(), 6u);
  if (GetParam() > 1) {
    EXPECT_EQ(inner_pieces, std::vector<int>(6, 1));
  }
}

INSTANTIATE_TEST_SUITE_P(Counts, Threads, testing::Values(1, 2, 3, 5));

TEST(ThreadCount, IsAtLeastOne) {
  const int before = thread_count();
  set_thread_count(0);
  EXPECT_EQ(thread_count(), 1);
  set_thread_count(4);
  EXPECT_EQ(thread_count(), 4);
  set_thread_count(before);
  EXPECT_GE(cores(), 1);
}

}  // namespace
}  // namespace eyrie::tensor
