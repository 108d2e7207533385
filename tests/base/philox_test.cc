// Philox against the published vectors; uniforms, normals and permutations against what they must
// be.
#include "base/philox.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <vector>

#include "base/hash.h"

namespace eyrie::base {
namespace {

using Block = std::array<std::uint32_t, 4>;

TEST(Philox, KnownAnswersOfRandom123) {
  EXPECT_EQ(Philox(0u, 0u).block(0, 0), (Block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(Philox(0xffffffffu, 0xffffffffu).block(~0ull, ~0ull),
            (Block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(Philox(0xa4093822u, 0x299f31d0u).block(0x85a308d3243f6a88, 0x0370734413198a2e),
            (Block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Philox, SeedAndPurposeBothCount) {
  const Block a = Philox(1, "embedding").block(0);
  EXPECT_EQ(a, Philox(1, "embedding").block(0));
  EXPECT_NE(a, Philox(2, "embedding").block(0));
  EXPECT_NE(a, Philox(1, "final_norm").block(0));
  EXPECT_NE(a, Philox(1 + (1ull << 32), "embedding").block(0));  // the high word of the seed too
}

TEST(Philox, UniformIsUniform) {
  const Philox philox(7, "uniform");
  constexpr int kCount = 200'000;
  std::vector<int> bins(20);
  double sum = 0;
  for (int i = 0; i < kCount; ++i) {
    const double u = philox.uniform(i);
    ASSERT_GE(u, 0);
    ASSERT_LT(u, 1);
    ++bins[static_cast<std::size_t>(u * 20)];
    sum += u;
  }
  EXPECT_NEAR(sum / kCount, 0.5, 0.003);                          // 4.6 standard errors
  for (const int bin : bins) EXPECT_NEAR(bin, kCount / 20, 490);  // 5 standard errors
}

TEST(Philox, NormalIsBoxMullerToTwelveDigits) {
  const Philox philox(7, "normal");
  double worst = 0;
  for (std::uint64_t i = 0; i < 100'000; ++i) {
    const Block words = philox.block(i / 2, 1);
    auto bits = [](std::uint32_t low, std::uint32_t high) {
      return (std::uint64_t{high} << 32 | low) >> 11;
    };
    const long double u = (static_cast<long double>(bits(words[0], words[1])) + 1) * 0x1p-53L;
    const long double angle =
        2 * M_PIl * static_cast<long double>(bits(words[2], words[3])) * 0x1p-53L;
    const long double radius = std::sqrt(-2 * std::log(u));
    const long double expected = radius * (i % 2 == 0 ? std::cos(angle) : std::sin(angle));
    worst = std::max(worst, static_cast<double>(std::abs(philox.normal(i) - expected)));
  }
  EXPECT_LT(worst, 4e-15);
}

TEST(Philox, NormalHasTheMomentsOfTheNormal) {
  const Philox philox(11, "moments");
  constexpr int kCount = 200'000;
  double moments[5] = {};
  double neighbours = 0;
  double before = 0;
  for (int i = 0; i < kCount; ++i) {
    const double x = philox.normal(i);
    for (double power = x; double& moment : std::span(moments).subspan(1)) {
      moment += power;
      power *= x;
    }
    neighbours += x * before;
    before = x;
  }
  // Five standard errors: sqrt(1, 2, 15, 96 over n).
  EXPECT_NEAR(moments[1] / kCount, 0, 0.0112);
  EXPECT_NEAR(moments[2] / kCount, 1, 0.0159);
  EXPECT_NEAR(moments[3] / kCount, 0, 0.0434);
  EXPECT_NEAR(moments[4] / kCount, 3, 0.11);
  EXPECT_NEAR(neighbours / kCount, 0, 0.0112);
}

TEST(Philox, BitsNeverChange) {
  // A checkpoint's run is repeated only if these stay as they are on every machine and compiler.
  const Philox philox(1, "bits");
  Hasher hasher;
  for (std::uint64_t i = 0; i < 100'000; ++i) {
    const double values[2] = {philox.uniform(i), philox.normal(i)};
    hasher.add(std::as_bytes(std::span(values)));
  }
  EXPECT_EQ(hex(hasher.value()), "c3582713929385c1");
  EXPECT_EQ(philox.normal(1ull << 40), philox.normal(1ull << 40));
}

TEST(Philox, PermutationIsABijection) {
  const Philox philox(3, "order");
  for (std::uint64_t count = 1; count <= 300; ++count) {
    for (std::uint64_t epoch : {0, 1, 2}) {
      std::vector<bool> seen(count);
      for (std::uint64_t i = 0; i < count; ++i) {
        const std::uint64_t place = philox.permute(i, count, epoch);
        ASSERT_LT(place, count);
        ASSERT_FALSE(seen[place]) << count << " " << epoch << " " << i;
        seen[place] = true;
      }
    }
  }
}

TEST(Philox, PermutationDependsOnKeyAndEpoch) {
  auto order = [](const Philox& philox, std::uint64_t epoch) {
    std::vector<std::uint64_t> places;
    for (std::uint64_t i = 0; i < 100; ++i) places.push_back(philox.permute(i, 100, epoch));
    return places;
  };
  const auto a = order(Philox(3, "order"), 0);
  EXPECT_EQ(a, order(Philox(3, "order"), 0));
  EXPECT_NE(a, order(Philox(3, "order"), 1));
  EXPECT_NE(a, order(Philox(4, "order"), 0));
  EXPECT_NE(a, order(Philox(3, "other"), 0));
}

TEST(Philox, EveryPlaceOfASmallPermutationIsAsLikely) {
  // Three elements under many keys: each of the six orders about equally often.
  int orders[27] = {};
  constexpr int kKeys = 6000;
  for (int key = 0; key < kKeys; ++key) {
    const Philox philox(static_cast<std::uint64_t>(key), "small");
    ++orders[philox.permute(0, 3) * 9 + philox.permute(1, 3) * 3 + philox.permute(2, 3)];
  }
  int kinds = 0;
  for (const int count : orders) {
    if (count == 0) continue;
    ++kinds;
    EXPECT_NEAR(count, kKeys / 6, 180);  // six standard errors
  }
  EXPECT_EQ(kinds, 6);
}

TEST(Philox, LargePermutationStaysInside) {
  const Philox philox(3, "order");
  const std::uint64_t count = (1ull << 40) + 12345;
  for (std::uint64_t i = 0; i < 1000; ++i) EXPECT_LT(philox.permute(count - 1 - i, count), count);
}

}  // namespace
}  // namespace eyrie::base
