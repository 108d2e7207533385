// xxh3 values are part of the file formats: fixed ones, pieces, and the hexadecimal form.
#include "base/hash.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace eyrie::base {
namespace {

TEST(Hash, PublishedValues) {
  // XXH3-64 of the empty input, from the library's documentation of its test values.
  EXPECT_EQ(hash_text(""), 0x2D06800538D394C2u);
  EXPECT_NE(hash_text("", 1), hash_text(""));
}

TEST(Hash, PiecesGiveTheWhole) {
  std::string text;
  for (int i = 0; i < 5000; ++i) text += static_cast<char>(i * 37 + i / 251);
  for (std::size_t length : {0, 1, 8, 16, 17, 128, 240, 241, 1024, 5000}) {
    const std::string part = text.substr(0, length);
    Hasher hasher;
    for (std::size_t at = 0; at < length; at += 97) {
      hasher.add(std::string_view(part).substr(at, 97));
    }
    EXPECT_EQ(hasher.value(), hash_text(part)) << length;
    EXPECT_EQ(hasher.value(), hash_bytes(std::as_bytes(std::span(part)))) << length;
  }
}

TEST(Hash, ValueMayBeAskedInBetween) {
  Hasher hasher;
  hasher.add("grif");
  EXPECT_EQ(hasher.value(), hash_text("grif"));
  hasher.add("fin");
  EXPECT_EQ(hasher.value(), hash_text("griffin"));
}

TEST(Hash, HexBothWays) {
  EXPECT_EQ(hex(0), "0000000000000000");
  EXPECT_EQ(hex(0xfedcba9876543210u), "fedcba9876543210");
  for (std::uint64_t value :
       {std::uint64_t{0}, std::uint64_t{1}, ~std::uint64_t{0}, hash_text("a")}) {
    EXPECT_EQ(from_hex(hex(value)), value);
  }
}

TEST(Hash, HexRefusesTheRest) {
  for (const char* text :
       {"", "0", "00000000000000000", "000000000000000g", "000000000000000A", "0x00000000000000"}) {
    EXPECT_THROW(from_hex(text), InputError) << text;
  }
}

}  // namespace
}  // namespace eyrie::base
