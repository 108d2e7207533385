// Times as Slurm writes them.
#include "slurm/queue.h"

#include <gtest/gtest.h>

namespace eyrie::slurm {
namespace {

TEST(SlurmTime, EveryForm) {
  EXPECT_EQ(seconds_of("30"), 30 * 60);
  EXPECT_EQ(seconds_of("1:30"), 90);
  EXPECT_EQ(seconds_of("12:00:05"), 12 * 3600 + 5);
  EXPECT_EQ(seconds_of("2-0"), 2 * 86400);
  EXPECT_EQ(seconds_of("2-12:30"), 2 * 86400 + 12 * 3600 + 30 * 60);
  EXPECT_EQ(seconds_of("1-00:00:01"), 86401);
  EXPECT_EQ(seconds_of("UNLIMITED"), -1);
  EXPECT_EQ(seconds_of("infinite"), -1);
  for (const char* wrong : {"", "soon", "1:2:3:4", "-1", "1-", "1h", "12:", "1:x"})
    EXPECT_FALSE(seconds_of(wrong).has_value()) << wrong;
}

TEST(SlurmTime, TextReadsBack) {
  for (const std::int64_t seconds : {1, 59, 3600, 86399, 86400, 86401, 1'000'000})
    EXPECT_EQ(seconds_of(time_text(seconds)), seconds);
  EXPECT_EQ(time_text(-1), "UNLIMITED");
}

}  // namespace
}  // namespace eyrie::slurm
