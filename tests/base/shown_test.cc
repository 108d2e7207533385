// What a terminal would obey is shown; all else stays as it is.
#include "base/shown.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace eyrie::base {
namespace {

TEST(Shown, OrdinaryTextStays) {
  const std::string text = "plain, \\x1b written out, ä, 山, 🦅, العربية";
  EXPECT_EQ(shown(text), text);
  EXPECT_EQ(shown_lines(text), text);
}

TEST(Shown, ControlsAreWrittenOut) {
  EXPECT_EQ(shown("\x1b[31mred\x07"), "\\x1b[31mred\\x07");
  EXPECT_EQ(shown(std::string_view("a\0b\x7f", 4)), "a\\x00b\\x7f");
  EXPECT_EQ(shown("over\rwritten\b"), "over\\x0dwritten\\x08");
  EXPECT_EQ(shown("\xc2\x9b"
                  "31m"),
            "\\x9b31m");                                                 // CSI as one character
  EXPECT_EQ(shown("a\xe2\x80\xae b\xe2\x81\xa6"), "a\\u202e b\\u2066");  // right to left
  EXPECT_EQ(shown("a\xe2\x80\xa8"), "a\\u2028");
  EXPECT_EQ(shown("\xe2\x80\x8f"), "\xe2\x80\x8f");  // a mark of direction turns nothing
}

TEST(Shown, LinesAndTabsOnlyWhereTheyAreWanted) {
  EXPECT_EQ(shown("a\n\tb"), "a\\x0a\\x09b");
  EXPECT_EQ(shown_lines("a\n\tb\r\n"), "a\n\tb\\x0d\n");
}

TEST(Shown, BytesThatAreNotUtf8) {
  EXPECT_EQ(shown("daten-\xfc"), "daten-\\xfc");
  EXPECT_EQ(shown("\x9b"
                  "1m"),
            "\\x9b1m");
  EXPECT_EQ(shown("\xc0\xaf"), "\\xc0\\xaf");                    // too long
  EXPECT_EQ(shown("\xed\xa0\x80"), "\\xed\\xa0\\x80");           // half of a pair
  EXPECT_EQ(shown("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80");  // beyond the last
  EXPECT_EQ(shown("cut \xe5\xb1"), "cut \\xe5\\xb1");
  EXPECT_TRUE(is_utf8("ä 山 🦅 \x01"));
  EXPECT_TRUE(is_utf8(""));
  for (const char* bad : {"\xfc", "\xc0\xaf", "\xed\xa0\x80", "a\xe5\xb1", "\xf4\x90\x80\x80"})
    EXPECT_FALSE(is_utf8(bad)) << shown(bad);
}

TEST(Shown, TwiceIsOnce) {
  for (const char* text : {"\x1b[0m", "\xfc", "\xe2\x80\xae", "a\\b"})
    EXPECT_EQ(shown(shown(text)), shown(text));
}

TEST(Shown, JsonKeepsItsValues) {
  const nlohmann::json value = {{"text", "\x1b \xc2\x9b \xe2\x80\xae \x7f ä\n"}, {"n", {1, 2.5}}};
  for (const int indent : {-1, 2}) {
    const std::string text = shown_json(value.dump(indent));
    EXPECT_EQ(nlohmann::json::parse(text), value);
    EXPECT_EQ(shown_lines(text), text) << "nothing is left to be obeyed";
  }
}

}  // namespace
}  // namespace eyrie::base
