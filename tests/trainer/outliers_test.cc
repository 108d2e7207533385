// Which steps are skipped.
#include "trainer/outliers.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace eyrie::trainer {
namespace {

// A window of 8 accepted steps around loss 2 and norm 1.
OutlierDetector seen_eight(OutlierConfig config) {
  OutlierDetector outliers(config);
  for (int i = 0; i < 8; ++i) EXPECT_EQ(outliers.judge(2 + 0.1 * (i % 2), 1 + 0.2 * (i % 2)), "");
  return outliers;
}

TEST(Outliers, NothingIsJudgedBeforeTheWindowIsFull) {
  OutlierDetector outliers({.z_score = 4, .window = 8});
  for (int i = 0; i < 7; ++i) EXPECT_EQ(outliers.judge(2 + 0.1 * (i % 2), 1), "");
  EXPECT_EQ(outliers.judge(100, 1), "");
}

TEST(Outliers, FarAboveTheMeanIsSkippedBelowIsNot) {
  OutlierDetector outliers = seen_eight({.z_score = 4, .window = 8});  // deviations 0.05 and 0.1
  EXPECT_EQ(outliers.judge(-5, 0.001), "");
  outliers = seen_eight({.z_score = 4, .window = 8});
  EXPECT_EQ(outliers.judge(2.24, 1.49), "");
  outliers = seen_eight({.z_score = 4, .window = 8});
  EXPECT_EQ(outliers.judge(2.26, 1),
            "the loss 2.26 lies 4.2 standard deviations above the mean 2.05 of the last 8 steps");
  EXPECT_NE(outliers.judge(2, 1.6).find("the gradient norm 1.6"), std::string::npos);
  EXPECT_EQ(outliers.in_a_row(), 2);
  EXPECT_EQ(outliers.judge(2, 1), "");
  EXPECT_EQ(outliers.in_a_row(), 0);
}

TEST(Outliers, NoNumbersAreAlwaysSkipped) {
  OutlierDetector outliers({.z_score = 0, .window = 8, .roll_back_after = 2});
  EXPECT_EQ(outliers.judge(std::nan(""), 1), "the loss is not a number");
  EXPECT_FALSE(outliers.roll_back());
  EXPECT_EQ(outliers.judge(1, std::numeric_limits<double>::infinity()),
            "the gradient norm is infinite");
  EXPECT_TRUE(outliers.roll_back());
  outliers.forget_row();
  EXPECT_FALSE(outliers.roll_back());
}

TEST(Outliers, TheWindowGoesOnFromItsState) {
  OutlierDetector one = seen_eight({.z_score = 4, .window = 8}), other({.z_score = 4, .window = 8});
  one.judge(std::nan(""), 1);
  other.set_state(one.state());
  EXPECT_EQ(other.state(), one.state());
  EXPECT_EQ(other.in_a_row(), 1);
  for (const double loss : {2.05, 2.3, 2.1, 2.26})
    EXPECT_EQ(other.judge(loss, 1), one.judge(loss, 1));
}

}  // namespace
}  // namespace eyrie::trainer
