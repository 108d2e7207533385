// Numbers as people write them, ranges, and arithmetic that is checked.
#include "base/number.h"

#include <gtest/gtest.h>

#include "base/checked.h"
#include "base/config_range.h"
#include "support/scratch_folder.h"

namespace eyrie::base {
namespace {

using test::message_of;

TEST(Number, WholeNumbers) {
  EXPECT_EQ(parse_whole("16Ki"), 16384);
  EXPECT_EQ(parse_whole("+1e6"), 1'000'000);
  EXPECT_EQ(parse_whole("9223372036854775807"), kLargestWhole);
  for (const char* text : {"", "-", "1.5", "1e30", "0x10", "nan", "9223372036854775808", "1e-400",
                           "1e300Ki", "Ki", " 1"})
    EXPECT_EQ(parse_whole(text), std::nullopt) << text;
}

TEST(Number, NumbersAreFinite) {
  EXPECT_EQ(parse_number("1.5Ki"), 1536.0);
  for (const char* text : {"nan", "inf", "-inf", "1e400", "1e308Ti", "", "1,5"})
    EXPECT_EQ(parse_number(text), std::nullopt) << text;
}

TEST(Number, RangesSayOnlyTheEndThatIsMissed) {
  EXPECT_EQ(out_of_range(std::int64_t{3}, 0, 5), "");
  EXPECT_EQ(out_of_range(std::int64_t{-1}, 0, kLargestWhole),
            "-1 is too small; it must be at least 0");
  EXPECT_EQ(out_of_range(std::int64_t{9}, 0, 5), "9 is too large; it must be at most 5");
  EXPECT_EQ(out_of_range(2.0, 0, 1), "2 is out of range; it must lie in [0, 1]");
}

TEST(Number, OfAConfigurationNamesFileLineAndKey) {
  Config config = Config::parse("a: 1\nb: 70\n", "run.yaml");
  EXPECT_EQ(get_whole(config, "a", 1, 9), 1);
  EXPECT_EQ(message_of<InputError>([&] { get_whole(config, "b", 1, 9); }),
            "run.yaml:2: b: 70 is too large; it must be at most 9");
  EXPECT_EQ(message_of<InputError>([&] { get_number(config, "b", 0, 0, 1); }),
            "run.yaml:2: b: 70 is out of range; it must lie in [0, 1]");
  EXPECT_EQ(get_whole(config, "c", 4, 1, 9), 4);
}

TEST(Checked, ProductsAndSumsThatDoNotFit) {
  const std::int64_t large = std::int64_t{1} << 40;
  EXPECT_EQ(product({3, large, 5}), 15 * large);
  EXPECT_EQ(product({large, large}), std::nullopt);
  EXPECT_EQ(product({-1, kLargestWhole, 2}), std::nullopt);
  EXPECT_EQ(sum({kLargestWhole, -1}), kLargestWhole - 1);
  EXPECT_EQ(sum({kLargestWhole, 1}), std::nullopt);
  EXPECT_EQ(checked_product("ranks", {4, 5}, 20), 20);
  EXPECT_EQ(message_of<InputError>([] {
              checked_product("ranks", {4, 6}, 20);
            }),
            "ranks would be 4 × 6 = 24; at most 20 can be");
  EXPECT_EQ(message_of<InputError>([&] {
              checked_product("ranks", {large, large}, 20);
            }),
            "ranks would be 1099511627776 × 1099511627776 = 1.21e+24; at most 20 can be");
}

}  // namespace
}  // namespace eyrie::base
