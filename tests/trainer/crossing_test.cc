// A checkpoint of any mesh goes on on any other. (All pairs: crossing_program, which scripts/soak
// runs.)
#include <gtest/gtest.h>

#include "support/crossing.h"

namespace eyrie::trainer {
namespace {

TEST(Crossing, OnTheSameMeshBitForBitOnOthersWithinRounding) {
  const test::TinyRun data;
  const auto meshes = test::crossing_meshes();
  int number = 0;
  for (std::size_t i = 0; i < meshes.size(); ++i) {
    const auto& writer = meshes[i];
    const auto& reader = meshes[(i + 3) % meshes.size()];
    const auto off = test::cross(data, fmt::format("pair{}", number++), writer, reader);
    EXPECT_LE(off.loss, 1e-5) << describe(writer) << " to " << describe(reader);
    EXPECT_LE(off.tensors, 1e-5) << describe(writer) << " to " << describe(reader);
    if (i % 3 != 0) continue;
    const auto same = test::cross(data, fmt::format("pair{}", number++), writer, writer);
    EXPECT_TRUE(same.same_bits) << describe(writer);
  }
}

TEST(Crossing, MovedOverFourTwoAndEightRanksItIsTheSameRun) {
  const test::TinyRun data;
  const std::vector<std::string> shards = {"stages.0.micro_shards=8", "stages.1.micro_shards=8"};
  for (const int zero : {1, 3}) {
    auto changes = shards;
    changes.push_back(fmt::format("mesh.zero={}", zero));
    const auto whole = data.config(fmt::format("whole{}", zero), shards);
    const auto moved = data.config(fmt::format("moved{}", zero), changes);
    test::train_on(1, whole);
    test::train_on(4, moved, {.stop_after = 3});
    test::train_on(2, moved, {.stop_after = 4});
    test::train_on(8, moved);
    EXPECT_TRUE(test::difference(test::ending_of(moved, 9), test::ending_of(whole, 9)).same_bits);
  }
}

}  // namespace
}  // namespace eyrie::trainer
