// The name of a model's weights: the same in whatever cuts, another for whatever other values.
#include "model/weights/fingerprint.h"

#include <gtest/gtest.h>

#include <numeric>
#include <set>
#include <vector>

#include "model/weights/initial_weights.h"

namespace eyrie::model {
namespace {

parallel::ParameterInfo row_of(std::vector<std::int64_t> shape) {
  parallel::Unit unit{"unit"};
  parallel::ParameterInfo row;
  row.name = "blocks.0/w";
  row.shape = std::move(shape);
  unit.add(row);
  return unit.parameters[0];
}

std::vector<float> values_of(std::int64_t count) {
  std::vector<float> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = 0.25f * static_cast<float>(i % 97) - 3;
  return values;
}

TEST(Fingerprint, SumsOfPiecesAddUpToTheWhole) {
  const parallel::ParameterInfo whole = row_of({60, 4, 700});
  const auto values = values_of(whole.count());
  const std::uint64_t expected = weight_sum(whole, 0, whole.count(), values.data());
  for (const std::int64_t piece : {1000, 4096, 65536, 99999}) {
    std::uint64_t sum = 0;
    for (std::int64_t at = 0; at < whole.count(); at += piece)
      sum += weight_sum(whole, at, std::min(piece, whole.count() - at), values.data() + at);
    EXPECT_EQ(sum, expected) << piece;
  }
  // Slices of two tensor ranks, along each axis, each in two pieces.
  for (std::size_t axis = 0; axis < 3; ++axis) {
    std::uint64_t sum = 0;
    for (int rank = 0; rank < 2; ++rank) {
      parallel::ParameterInfo slice = whole;
      slice.extent[axis] /= 2;
      slice.start[axis] = rank * slice.extent[axis];
      std::vector<float> own;
      for (std::int64_t i = 0; i < slice.count(); ++i)
        own.push_back(values[static_cast<std::size_t>(parallel::global_index(slice, i))]);
      const std::int64_t cut = 12345;
      sum += weight_sum(slice, 0, cut, own.data());
      sum += weight_sum(slice, cut, slice.count() - cut, own.data() + cut);
    }
    EXPECT_EQ(sum, expected) << axis;
  }
}

TEST(Fingerprint, AnyChangeGivesAnother) {
  const parallel::ParameterInfo row = row_of({40, 50});
  auto values = values_of(row.count());
  std::set<std::uint64_t> sums = {weight_sum(row, 0, row.count(), values.data())};
  for (std::size_t i = 0; i < values.size(); i += 37) {
    values[i] += 1;
    EXPECT_TRUE(sums.insert(weight_sum(row, 0, row.count(), values.data())).second) << i;
    values[i] -= 1;
  }
  std::swap(values[3], values[4]);
  EXPECT_TRUE(sums.insert(weight_sum(row, 0, row.count(), values.data())).second);
  parallel::ParameterInfo other = row;
  other.name = "blocks.1/w";
  EXPECT_TRUE(sums.insert(weight_sum(other, 0, row.count(), values.data())).second);
}

TEST(Fingerprint, FollowsWhatDecidesTheComputation) {
  const std::vector<std::string> sizes = {"width=32", "rnn_width=32",  "mlp_width=48",
                                          "heads=2",  "gate_blocks=2", "layers=RA",
                                          "window=8", "vocabulary=64"};
  const auto of = [&](const std::string& change, std::uint64_t seed) {
    auto changes = sizes;
    if (!change.empty()) changes.push_back(change);
    return fingerprint(InitialWeights(preset("griffin-10m", changes), seed));
  };
  const std::string one = of("", 1);
  EXPECT_EQ(one.size(), 16u);
  EXPECT_EQ(of("", 1), one);
  EXPECT_NE(of("", 2), one);
  EXPECT_NE(of("window=9", 1), one);
  EXPECT_NE(of("soft_cap=30", 1), one);
}

}  // namespace
}  // namespace eyrie::model
