// Python's text functions; expected values are what CPython gives.
#include "text/python_string.h"

#include <gtest/gtest.h>

namespace eyrie::text {
namespace {

TEST(PythonString, StripsUnicodeWhiteSpaceOnly) {
  EXPECT_EQ(strip(" \t\n\u00a0a b\u3000\u2028\x1c "), "a b");
  EXPECT_EQ(rstrip("a \u00a0"), "a");
  EXPECT_EQ(lstrip("\u2003 a "), "a ");
  EXPECT_EQ(strip("\u200ba\u200b"), "\u200ba\u200b");  // a zero-width space is none
  EXPECT_EQ(strip("\ufeffa"), "\ufeffa");
  EXPECT_EQ(strip(" \n"), "");
  EXPECT_EQ(strip(""), "");
}

TEST(PythonString, CountsCodePoints) {
  EXPECT_EQ(length(""), 0);
  EXPECT_EQ(length("é"), 1);
  EXPECT_EQ(length("e\u0301"), 2);
  EXPECT_EQ(length("a→😀"), 3);
}

TEST(PythonString, CapitalizeLowersTheRest) {
  EXPECT_EQ(capitalize("the CAT and NASA"), "The cat and nasa");
  EXPECT_EQ(capitalize(""), "");
  EXPECT_EQ(capitalize(" he Runs"), " he runs");
  EXPECT_EQ(capitalize("éCOLE"), "École");
  EXPECT_EQ(capitalize("ßA"), "Ssa");
  EXPECT_EQ(capitalize("ǆA"), "ǅa");  // title case, not upper case
  EXPECT_EQ(capitalize("ΑΣ"), "Ας");  // a final sigma
  EXPECT_EQ(capitalize("1ABC"), "1abc");
  EXPECT_EQ(capitalize("Σ"), "Σ");
}

TEST(PythonString, ReplacesInOnePass) {
  EXPECT_EQ(replace_all("a    b", "  ", " "), "a  b");
  EXPECT_EQ(replace_all("abc", "x", "y"), "abc");
  EXPECT_EQ(replace_all("", "x", "y"), "");
  EXPECT_EQ(replace_all("xx", "x", ""), "");
}

TEST(PythonString, Floats) {
  const std::vector<std::pair<double, std::string>> cases = {{3.0, "3.0"},
                                                             {2.5, "2.5"},
                                                             {0.1, "0.1"},
                                                             {-0.0, "-0.0"},
                                                             {1e15, "1000000000000000.0"},
                                                             {1e16, "1e+16"},
                                                             {1.5e300, "1.5e+300"},
                                                             {0.0001, "0.0001"},
                                                             {0.00001, "1e-05"},
                                                             {1.0 / 3, "0.3333333333333333"},
                                                             {123456.789, "123456.789"}};
  for (const auto& [value, text] : cases) EXPECT_EQ(float_text(value), text);
}

}  // namespace
}  // namespace eyrie::text
