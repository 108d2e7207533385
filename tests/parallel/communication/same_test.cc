// Ranks that were given something else are named.
#include "parallel/communication/same.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"

namespace eyrie::parallel {
namespace {

std::string refusal(int ranks, const std::function<Facts(int)>& facts) {
  std::vector<std::string> messages(static_cast<std::size_t>(ranks));
  run_in_process(ranks, [&](Communicator& world) {
    try {
      check_same(world, facts(world.rank()), "Give all the same.");
    } catch (const base::InputError& error) {
      messages[static_cast<std::size_t>(world.rank())] = error.what();
    }
  });
  for (const std::string& message : messages) EXPECT_EQ(message, messages[0]);
  return messages[0];
}

TEST(Same, NothingIsSaidWhereAllAgree) {
  for (const int ranks : {1, 2, 5})
    EXPECT_EQ(refusal(ranks, [](int) { return Facts{{"seed", "1"}, {"empty", ""}}; }), "");
  EXPECT_EQ(refusal(2, [](int) { return Facts{}; }), "");
}

TEST(Same, TheFirstDifferenceAndTheRanksAreNamed) {
  const std::string host = base::host_name();
  EXPECT_EQ(refusal(4,
                    [](int rank) {
                      return Facts{{"a", "x"}, {"seed", rank >= 2 ? "2" : "1"}, {"z", "0"}};
                    }),
            "rank 2: this rank on " + host + " does not read what rank 0 on " + host +
                " reads: seed is 2 here, 1 there (2 ranks are not as rank 0: 2, 3). Give all the "
                "same.");
  EXPECT_NE(refusal(2,
                    [](int rank) {
                      return Facts(rank == 1 ? 1 : 2, {"key", "v"});
                    })
                .find("key is only there (1 rank is not as rank 0: 1)"),
            std::string::npos);
  EXPECT_NE(refusal(2,
                    [](int rank) {
                      return Facts{{rank == 0 ? "one" : "other", "v"}};
                    })
                .find("other here, one there"),
            std::string::npos);
}

}  // namespace
}  // namespace eyrie::parallel
