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

}  // namespace
}  // namespace eyrie::text
