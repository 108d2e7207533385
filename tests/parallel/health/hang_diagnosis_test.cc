// The judgement on a hang from given reports, and who judges, in simulated time.
#include "parallel/health/hang_diagnosis.h"

#include <gtest/gtest.h>

#include <chrono>
#include <numeric>

#include "parallel/health/hang_watch.h"

namespace eyrie::parallel {
namespace {

using namespace std::chrono_literals;

std::vector<int> everyone(int ranks) {
  std::vector<int> all(ranks);
  std::iota(all.begin(), all.end(), 0);
  return all;
}

OperationReport waits(const std::string& name, const std::string& operation, std::int64_t number,
                      double seconds, std::vector<int> members) {
  return {"id of " + name, name, operation, number, -1, true, seconds, std::move(members)};
}

OperationReport left(const std::string& name, const std::string& operation, std::int64_t number) {
  return {"id of " + name, name, operation, number, -1, false, 0, {}};
}

const Limits kLimits{10, 4};

TEST(VerdictTest, ReportsTravel) {
  const RankReport report = {waits("data", "all_gather of slices", 1234567890123, 12.5, {0, 4, 8}),
                             left("world", "barrier", 2),
                             {"id", "x", "a message from", 0, 3, true, 1, {}}};
  const RankReport same = unpack(pack(report));
  ASSERT_EQ(same.size(), 3u);
  EXPECT_EQ(same[0].identity, "id of data");
  EXPECT_EQ(same[0].name, "data");
  EXPECT_EQ(same[0].operation, "all_gather of slices");
  EXPECT_EQ(same[0].number, 1234567890123);
  EXPECT_TRUE(same[0].inside);
  EXPECT_EQ(same[0].seconds, 12.5);
  EXPECT_EQ(same[0].members, (std::vector<int>{0, 4, 8}));
  EXPECT_FALSE(same[1].inside);
  EXPECT_EQ(same[2].peer, 3);
  EXPECT_TRUE(unpack("").empty());
}

TEST(VerdictTest, NothingWithinTheLimits) {
  const auto barrier = waits("world", "barrier", 5, 9.9, everyone(2));
  EXPECT_FALSE(find_hang({{0, {barrier}}, {9.9, {}}}, kLimits));
  EXPECT_FALSE(find_hang({{0, {}}, {0, {left("world", "barrier", 4)}}}, kLimits));
}

// Waits for files of another rank may last longer.
TEST(VerdictTest, ASlowDiskIsNotAHang) {
  auto save = waits("world", "all_reduce (min of integers)", 5, 99, everyone(2));
  const auto judge = [&] { return find_hang({{0, {save}}, {0, {}}}, kLimits); };
  EXPECT_TRUE(judge());
  save.limit_factor = 10;
  EXPECT_FALSE(judge());
  save = unpack(pack({save})).front();
  EXPECT_FALSE(judge());
  save.seconds = 101;
  EXPECT_TRUE(judge());
}

TEST(VerdictTest, OneThatDoesNotAnswer) {
  const auto barrier = waits("world", "barrier", 5, 3, everyone(3));
  EXPECT_EQ(
      find_hang({{0, {barrier}}, {12, {left("world", "barrier", 4)}}, {1, {barrier}}}, kLimits),
      "'world' barrier 5 has waited 3 s; arrived: ranks 0, 2; did not arrive: rank 1 (has not "
      "answered for 12 s)");
  // It had arrived, and was stopped inside.
  EXPECT_EQ(
      find_hang({{0, {barrier}}, {12, {barrier}}, {1, {barrier}}}, kLimits),
      "'world' barrier 5 has waited 3 s; arrived: ranks 0, 2, rank 1 (has not answered for 12 "
      "s); did not arrive: none");
  // Nobody waits yet.
  EXPECT_EQ(find_hang({{0, {}}, {12, {barrier}}, {1, {}}}, kLimits),
            "rank 1 has not answered for 12 s; it was last in 'world' barrier 5");
  EXPECT_EQ(find_hang({{0, {}}, {12, {}}, {12, {}}}, kLimits),
            "ranks 1, 2 have not answered for 12 s; rank 1 was last outside of any operation");
}

TEST(VerdictTest, ALostHostIsNamed) {
  const auto barrier = waits("world", "barrier", 5, 3, everyone(4));
  const RankView here = {0, {barrier}, "n1"}, lost = {12, {}, "n2"};
  EXPECT_EQ(find_hang({here, here, lost, lost}, kLimits),
            "'world' barrier 5 has waited 3 s; arrived: ranks 0, 1; did not arrive: ranks 2, 3 (on "
            "n2, has not answered for 12 s)");
  EXPECT_EQ(
      find_hang({{0, {}, "n1"}, {0, {}, "n1"}, lost, lost}, kLimits),
      "ranks 2, 3, on n2, have not answered for 12 s; rank 2 was last outside of any operation");
  EXPECT_EQ(find_hang({{0, {}, "n1"}, {12, {}, "n3"}, lost}, kLimits),
            "ranks 1, 2 have not answered for 12 s; rank 1 was last outside of any operation");
  const OperationReport message = {"id", "context", "a message from", 0, 1, true, 11, {}};
  EXPECT_EQ(find_hang({{0, {message}, "n1"}, {5, {}, "n2"}}, kLimits),
            "rank 0 has waited 11 s for a message from rank 1 on 'context'; rank 1, on n2, has not "
            "answered for 5 s");
}

// Ranks 2 and 3 wait on their axis, rank 0 for all; rank 1, which is to blame, in no operation.
TEST(VerdictTest, TheCauseGoesBeforeTheLongestWait) {
  const auto world = waits("world", "barrier", 5, 11, everyone(4));
  const auto axis = waits("tensor", "all_reduce (sum)", 9, 60, {2, 3});
  const auto pair = waits("data", "all_gather", 7, 12, {1, 3});
  const std::vector<RankView> ranks = {
      {0, {world}}, {0, {left("world", "barrier", 4)}}, {0, {axis}}, {0, {pair}}};
  EXPECT_EQ(
      find_hang(ranks, kLimits),
      "'data' all_gather 7 has waited 12 s; arrived: rank 3; did not arrive: rank 1 (answers, "
      "but is busy outside of any operation; if its work may take that long, raise the limit)");
}

TEST(VerdictTest, TheEarliestOfOneCommunicator) {
  const auto next = waits("world", "barrier", 6, 11, everyone(3));
  const auto barrier = waits("world", "barrier", 5, 11, everyone(3));
  EXPECT_EQ(
      find_hang({{0, {next}}, {0, {barrier}}, {12, {}}}, kLimits),
      "'world' barrier 5 has waited 11 s; arrived: ranks 0, 1; did not arrive: rank 2 (has not "
      "answered for 12 s)");
}

TEST(VerdictTest, DifferentCallsAndSingleMessages) {
  const auto barrier = waits("world", "barrier", 5, 11, everyone(2));
  const auto split = waits("world", "split", 5, 11, everyone(2));
  EXPECT_EQ(
      find_hang({{0, {barrier}}, {0, {split}}}, kLimits),
      "'world' barrier 5 has waited 11 s; arrived: rank 0, rank 1 (in split); did not arrive: "
      "none; they may differ in what they call: EYRIE_CHECK_ORDER=1 "
      "tells");
  const OperationReport message = {"id", "context", "a message from", 0, 1, true, 11, {}};
  EXPECT_EQ(
      find_hang({{0, {message}}, {5, {}}}, kLimits),
      "rank 0 has waited 11 s for a message from rank 1 on 'context'; rank 1 has not answered "
      "for 5 s");
}

// A job of `ranks` posts, one second per period; those in `dead` say nothing from `death` on.
// Returns (who judged, when), all that did within the time.
std::vector<std::pair<int, int>> judges(int ranks, const std::vector<int>& dead, int death,
                                        int seconds, std::int64_t* messages = nullptr) {
  const Limits limits{60, 4};
  const WatchPost::Time start{};
  std::vector<WatchPost> posts;
  for (int rank = 0; rank < ranks; ++rank) posts.emplace_back(rank, ranks, limits, start);
  std::vector<std::pair<int, int>> said;
  for (int second = 1; second <= seconds; ++second) {
    const WatchPost::Time now = start + std::chrono::seconds(second);
    const auto lives = [&](int rank) {
      return second < death || std::find(dead.begin(), dead.end(), rank) == dead.end();
    };
    std::vector<std::pair<int, int>> under_way;
    for (int rank = 0; rank < ranks; ++rank) {
      if (!lives(rank)) continue;
      for (const int to : posts[rank].listeners(now)) under_way.push_back({rank, to});
      if (posts[rank].judge({}, now)) said.push_back({rank, second});
    }
    if (messages != nullptr) *messages += std::ssize(under_way);
    for (const auto& [from, to] : under_way) posts[to].hear(from, {}, now);
    if (!said.empty()) break;
  }
  return said;
}

TEST(WatchPostTest, TheLowestThatAnswersJudgesAlone) {
  using Said = std::vector<std::pair<int, int>>;
  EXPECT_EQ(judges(16, {}, 0, 300), Said());
  EXPECT_EQ(judges(16, {5}, 100, 300), (Said{{0, 160}}));
  EXPECT_EQ(judges(16, {0}, 100, 300), (Said{{1, 160}}));
  EXPECT_EQ(judges(16, {0, 1, 2}, 100, 300), (Said{{3, 160}}));
  EXPECT_EQ(judges(16, {0, 2, 9}, 100, 300), (Said{{1, 160}}));
  EXPECT_EQ(judges(64, everyone(8), 100, 300), (Said{{8, 160}}));  // the first host
  EXPECT_EQ(judges(2, {0}, 100, 300), (Said{{1, 160}}));
  EXPECT_EQ(judges(64, everyone(63), 100, 300), (Said{{63, 160}}));
}

TEST(WatchPostTest, TwoMessagesARankAndPeriod) {
  std::int64_t messages = 0;
  judges(16, {}, 0, 100, &messages);
  EXPECT_LE(messages, 2 * 15 * 100);
}

TEST(WatchPostTest, AProcessThatWasStoppedStartsAnew) {
  const Limits limits{60, 4};
  const WatchPost::Time start{};
  WatchPost post(0, 2, limits, start);
  post.resume(start + 100s);
  EXPECT_FALSE(post.judge({}, start + 159s));
  EXPECT_TRUE(post.judge({}, start + 161s));
}

}  // namespace
}  // namespace eyrie::parallel
