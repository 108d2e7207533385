// Amounts of memory, read and written.
#include "trainer/bytes.h"

#include <gtest/gtest.h>

namespace eyrie::trainer {
namespace {

TEST(Bytes, AreReadAsPeopleWriteThem) {
  EXPECT_EQ(parse_bytes("24GB"), 24'000'000'000);
  EXPECT_EQ(parse_bytes("1.5 GiB"), 3 << 29);
  EXPECT_EQ(parse_bytes("500M"), 500'000'000);
  EXPECT_EQ(parse_bytes("64KiB"), 65536);
  EXPECT_EQ(parse_bytes("64kB"), 64000);
  EXPECT_EQ(parse_bytes("65536"), 65536);
  for (const char* wrong : {"", "GB", "-1GB", "0", "3 apples", "1GiBB", "1e30TB", "nan"})
    EXPECT_EQ(parse_bytes(wrong), -1) << wrong;
  EXPECT_EQ(bytes_text(1'930'000'000), "1.93 GB");
}

}  // namespace
}  // namespace eyrie::trainer
