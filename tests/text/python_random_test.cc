// PythonRandom against numbers from CPython 3.11.
#include "text/python_random.h"

#include <gtest/gtest.h>

#include <set>

namespace eyrie::text {
namespace {

using Numbers = std::vector<std::int64_t>;

TEST(PythonRandom, GivesTheTwistersWords) {
  PythonRandom random(1234);
  for (const std::uint32_t expected :
       {4150886329u, 3342196574u, 1892932127u, 501869158u, 32175636u}) {
    EXPECT_EQ(random.next(), expected);
  }
}

// The state is made anew every 624 words.
TEST(PythonRandom, GoesOnBeyondOneState) {
  PythonRandom random(1234);
  std::uint32_t word = 0;
  for (int i = 0; i < 1300; ++i) word = random.next();
  EXPECT_EQ(word, 2861468013u);
}

TEST(PythonRandom, TakesSeedsOfMoreThanOneWord) {
  PythonRandom random((std::uint64_t{1} << 40) + 7);
  EXPECT_EQ(random.next(), 2635837658u);
  EXPECT_EQ(PythonRandom(0).next(), 3626764237u);
}

TEST(PythonRandom, DrawsBitsNumbersAndFractions) {
  PythonRandom random(99);
  EXPECT_EQ(random.bits(5), 12u);
  EXPECT_EQ(random.bits(40), 220678652212u);
  EXPECT_EQ(random.below(1), 0);
  EXPECT_EQ(random.below(1000), 235);
  EXPECT_EQ(random.uniform(), 0.24843131850096878);
}

struct Drawn {
  const char* what;
  std::int64_t n, k;
  Numbers first, second;
};

class Samples : public testing::TestWithParam<Drawn> {};

TEST_P(Samples, AreThoseOfTheReference) {
  PythonRandom random(1234);
  EXPECT_EQ(random.sample(GetParam().n, GetParam().k), GetParam().first);
  EXPECT_EQ(random.sample(GetParam().n, GetParam().k), GetParam().second);
}

INSTANTIATE_TEST_SUITE_P(
    Tasks, Samples,
    testing::Values(
        Drawn{"hellaswag",
              39905,
              11,
              {28883, 7657, 490, 5940, 38156, 2288, 5500, 6450, 23241, 15519, 1142},
              {2019, 1038, 22681, 31735, 30379, 9735, 5982, 11999, 7498, 958, 32970}},
        Drawn{"piqa",
              16113,
              6,
              {15834, 12749, 7220, 1914, 122, 1485},
              {14925, 15442, 15388, 13221, 9539, 572}},
        Drawn{"winogrande",
              40398,
              6,
              {28883, 7657, 490, 5940, 38156, 2288},
              {5500, 6450, 23241, 15519, 1142, 2019}},
        Drawn{"boolq",
              9427,
              6,
              {7220, 1914, 122, 1485, 572, 1375},
              {1612, 5810, 3879, 285, 504, 259}},
        Drawn{"triviaqa",
              138384,
              6,
              {115535, 30631, 1963, 23761, 9155, 22003},
              {25800, 92965, 62078, 4568, 8077, 4152}},
        Drawn{"commonsense_qa",
              9741,
              8,
              {7220, 1914, 122, 1485, 9539, 572, 1375, 1612},
              {5810, 3879, 285, 504, 259, 5670, 7933, 7594}},
        Drawn{"openbookqa", 4957, 5, {3610, 957, 61, 742, 4769}, {286, 687, 806, 2905, 1939}},
        Drawn{"arc_challenge",
              1119,
              25,
              {902, 239, 15,  185, 71,  171, 201, 726,  484, 35,  63,  32,  708,
               991, 949, 304, 186, 374, 234, 29,  1030, 996, 511, 132, 1108},
              {954, 140,  182, 1054, 94,  552, 129, 619, 985, 727, 545, 510, 409,
               928, 1085, 39,  1040, 144, 11,  683, 294, 968, 772, 342, 110}},
        // The other way of drawing: populations that are small beside the sample.
        Drawn{"small", 20, 5, {14, 3, 0, 2, 1}, {2, 3, 11, 7, 0}},
        Drawn{"all",
              21,
              21,
              {14, 3, 0, 2, 1, 17, 16, 12, 5, 19, 18, 10, 9, 13, 7, 4, 11, 6, 8, 15, 20},
              {3, 0, 16, 15, 7, 2, 10, 8, 18, 1, 9, 11, 13, 19, 17, 4, 12, 6, 14, 20, 5}},
        Drawn{"border", 85, 6, {56, 14, 0, 11, 74, 4}, {10, 12, 45, 30, 2, 3}},
        Drawn{"beyond", 86, 6, {56, 14, 0, 11, 74, 4}, {85, 10, 12, 45, 30, 2}}),
    [](const auto& info) { return info.param.what; });

TEST(PythonRandom, SamplesNothingAndEverything) {
  PythonRandom random(1);
  EXPECT_TRUE(random.sample(0, 0).empty());
  EXPECT_TRUE(random.sample(10, 0).empty());
  const Numbers all = random.sample(300, 300);
  EXPECT_EQ(std::set<std::int64_t>(all.begin(), all.end()).size(), 300u);
  EXPECT_DEATH(random.sample(3, 4), "a sample is not larger");
}

}  // namespace
}  // namespace eyrie::text
