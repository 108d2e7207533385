// Copies of rows with gaps, gathers, positions, and the small sums of exchanges.
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <vector>

#include "base/philox.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/positions.h"
#include "tensor/ops/sums.h"
#include "tensor/transfer.h"

namespace eyrie::tensor {
namespace {

std::vector<float> numbers(std::int64_t count) {
  std::vector<float> values(static_cast<std::size_t>(count));
  std::iota(values.begin(), values.end(), 1.0f);
  return values;
}

TEST(Copy, RowsWithGaps) {
  std::vector<float> from = numbers(24), to(15, 0.0f);
  const Tensor source = host_row(from).reshaped(4, 6), target = host_row(to).reshaped(5, 3);
  copy(source.column_range(2, 2).row_range(1, 3), target.column_range(1, 2).row_range(0, 3));
  EXPECT_EQ(to, (std::vector<float>{0, 9, 10, 0, 15, 16, 0, 21, 22, 0, 0, 0, 0, 0, 0}));
  zero(target.column_range(2, 1));
  EXPECT_EQ(to, (std::vector<float>{0, 9, 0, 0, 15, 0, 0, 21, 0, 0, 0, 0, 0, 0, 0}));
  copy(source.row_range(0, 2).reshaped(1, 12), target.row_range(0, 4).reshaped(2, 6));
  EXPECT_EQ(to[11], 12.0f);
  copy(source.row_range(0, 0), target.row_range(0, 0));  // nothing
}

TEST(GatherRows, AndSingleElements) {
  std::vector<float> from = numbers(12), to(6);
  const Tensor source = host_row(from).reshaped(4, 3);
  const std::vector<std::int64_t> rows = {3, 0};
  gather_rows(source, rows, host_row(to).reshaped(2, 3));
  EXPECT_EQ(to, (std::vector<float>{10, 11, 12, 1, 2, 3}));
  EXPECT_EQ(to_host(source.column_range(1, 2), std::vector<Element>{{0, 0}, {3, 1}, {0, 0}}),
            (std::vector<float>{2, 12, 2}));
  EXPECT_EQ(to_host<float>(source.row_range(1, 1)), (std::vector<float>{4, 5, 6}));
}

TEST(Affine, AndRounding) {
  std::vector<float> product = {2, 0, -1}, rest = {1, 5, 0.5f}, state = {3, 9, 4};
  affine(host_row(product), host_row(rest), host_row(state));
  EXPECT_EQ(state, (std::vector<float>{7, 5, -3.5f}));
  std::vector<float> values = {1.0f, 1.00390625f, std::nanf(""), 3.14159265f};
  round_to_bfloat16(host_row(values));
  for (const std::size_t i : {0, 1, 3}) EXPECT_EQ(values[i], to_float(to_bfloat16(values[i])));
  EXPECT_TRUE(std::isnan(values[2]));
}

TEST(Positions, ContinueAndBoundAttention) {
  std::vector<std::int32_t> positions(8), first(8);
  continue_positions(std::vector<std::int64_t>{5, 0}, host_row(positions));
  EXPECT_EQ(positions, (std::vector<std::int32_t>{5, 6, 7, 8, 0, 1, 2, 3}));
  first_keys(host_row(positions), 2, 3, 2, host_row(first));
  EXPECT_EQ(first, (std::vector<std::int32_t>{1, 2, 3, 4, 3, 3, 3, 4}));
  EXPECT_TRUE(all_in_range(host_row(positions), 9));
  EXPECT_FALSE(all_in_range(host_row(positions), 8));
  const std::vector<float> mask = {1, 1, 1, 0, 1, 1, 1, 1};
  EXPECT_TRUE(all_in_range(host_row(positions), 8, host_row(mask)));
  positions[2] = -1;
  EXPECT_FALSE(all_in_range(host_row(positions), 9, host_row(mask)));
}

// Against the definition, for groups and sizes that do not divide.
TEST(SumTree, FollowsTheTree) {
  const base::Philox random(1, "sums");
  for (const std::int64_t size : {0, 1, 1023, 2500}) {
    for (const auto& [group, groups] : {std::pair{1, 1}, {1, 3}, {4, 1}, {2, 3}, {8, 2}}) {
      std::vector<std::vector<float>> parts;
      for (int p = 0; p < group * groups; ++p) {
        std::vector<float>& part = parts.emplace_back();
        for (std::int64_t i = 0; i < size; ++i)
          part.push_back(std::ldexp(
              static_cast<float>(random.normal(static_cast<std::uint64_t>(p * size + i))),
              static_cast<int>(i % 9)));
      }
      std::vector<float> expected(static_cast<std::size_t>(size));
      for (std::size_t i = 0; i < expected.size(); ++i) {
        for (int g = 0; g < groups; ++g) {
          std::vector<float> level;
          for (int p = 0; p < group; ++p)
            level.push_back(parts[static_cast<std::size_t>(g * group + p)][i]);
          while (level.size() > 1) {
            std::vector<float> above;
            for (std::size_t p = 0; p < level.size(); p += 2)
              above.push_back(level[p] + level[p + 1]);
            level = above;
          }
          expected[i] = g == 0 ? level[0] : expected[i] + level[0];
        }
      }
      std::vector<Tensor> rows;
      for (auto& part : parts) rows.push_back(host_row(part));
      sum_tree(rows, group);
      EXPECT_EQ(parts[0], expected) << size << " " << group << " " << groups;
    }
  }
}

}  // namespace
}  // namespace eyrie::tensor
