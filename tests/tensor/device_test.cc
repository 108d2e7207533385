// Tensors without memory: what an operation does with them, and what nobody can do with them.
#include "tensor/device.h"

#include <gtest/gtest.h>

#include <vector>

#include "tensor/arena.h"
#include "tensor/ops/adamw.h"
#include "tensor/ops/attention.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/matmul.h"
#include "tensor/ops/sums.h"
#include "tensor/transfer.h"

namespace eyrie::tensor {
namespace {

TEST(Meta, HasShapesAndAddressesAndNoMemory) {
  Arena arena(1 << 20, Device::kMeta);
  const std::int64_t rows = std::int64_t{1} << 20;
  const Tensor a = arena.allocate(DType::kFloat32, rows, rows),  // 4 TiB
      b = arena.zeros(DType::kBFloat16, rows, rows);
  EXPECT_EQ(arena.held_bytes(), std::size_t{6} << 40);
  EXPECT_EQ(a.device(), Device::kMeta);
  EXPECT_EQ(a.row_range(3, 1).device(), Device::kMeta);
  EXPECT_EQ(a.column_range(5, 7).row_range(0, 2).data(), a.column_range(5, 7).data());
  EXPECT_NE(a.data(), b.data());
  EXPECT_EQ(static_cast<char*>(a.row_range(1, 1).data()) - static_cast<char*>(a.data()), 4 * rows);
}

TEST(Meta, OperationsChangeAndReadNothing) {
  Arena arena(1 << 20, Device::kMeta);
  const auto fp32 = [&](std::int64_t rows, std::int64_t columns) {
    return arena.allocate(DType::kFloat32, rows, columns);
  };
  const Tensor a = fp32(4, 6), b = fp32(6, 5), out = fp32(4, 5);
  matmul(a, b, out);
  add(a, a);
  zero(out.column_range(1, 2));
  convert(a, arena.allocate(DType::kBFloat16, 4, 6));
  const Tensor row = fp32(1, 24);
  adamw(row, row, row, row, {});
  EXPECT_EQ(sum(row), 0);
  EXPECT_EQ(sum_of_squares(row), 0);
  EXPECT_EQ(to_host<float>(row), std::vector<float>(24, 0.0f));
  EXPECT_EQ(to_host(a, std::vector<Element>{{1, 2}, {3, 5}}), std::vector<float>(2, 0.0f));
  float value = 7;
  copy(row.column_range(0, 1), {&value, DType::kFloat32, 1, 1});
  copy({&value, DType::kFloat32, 1, 1}, row.column_range(0, 1));
  EXPECT_EQ(value, 7);
  EXPECT_EQ(arena.on_device(row).data(), row.data());
  EXPECT_EQ(arena.on_device({&value, DType::kFloat32, 1, 1}).device(), Device::kMeta);
}

// The scratch memory of attention, against what the same call takes in memory.
TEST(Meta, AttentionTakesTheScratchMemoryOfTheProcessor) {
  for (const DType dtype : {DType::kFloat32, DType::kBFloat16}) {
    for (const std::int64_t reach : {5, 40, 1000}) {
      const AttentionShape shape{
          .sequences = 2, .queries = 300, .keys = 310, .heads = 4, .head_dim = 8, .reach = reach};
      const auto peak = [&](Device device) {
        Arena arena(1 << 20, device), scratch(std::size_t{1} << 30, device);
        const auto any = [&](std::int64_t rows, std::int64_t columns) {
          return arena.zeros(dtype, rows, columns);
        };
        const auto fp32 = [&](std::int64_t rows, std::int64_t columns) {
          return arena.zeros(DType::kFloat32, rows, columns);
        };
        std::vector<std::int32_t> first;
        for (std::int64_t at = 0; at < 600; ++at)
          first.push_back(
              static_cast<std::int32_t>(std::max<std::int64_t>(0, 10 + at % 300 - reach)));
        const Tensor q = any(600, 32), k = any(620, 8), out = any(600, 32),
                     first_key = arena.on_device(host_row(first)), log_sum = fp32(600, 4);
        attention(q, k, k, first_key, shape, out, log_sum, scratch);
        const std::size_t forward = scratch.peak_bytes();
        attention_backward(out, q, k, k, out, log_sum, first_key, shape, fp32(600, 32),
                           fp32(620, 8), fp32(620, 8), scratch);
        return std::pair(forward, scratch.peak_bytes());
      };
      EXPECT_EQ(peak(Device::kMeta), peak(Device::kCpu)) << name_of(dtype) << " " << reach;
    }
  }
}

TEST(MetaDeathTest, ShapesAreCheckedAndElementsAreOutOfReach) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  Arena arena(1 << 20, Device::kMeta);
  const Tensor a = arena.allocate(DType::kFloat32, 4, 6), b = arena.allocate(DType::kFloat32, 5, 5);
  EXPECT_DEATH(matmul(a, b, a), "matmul: a 4x6");
  EXPECT_DEATH(add(a, b), "add: 4x6 and 5x5");
  EXPECT_DEATH(a.f32(), "a tensor on meta read as host memory");
  EXPECT_DEATH(*static_cast<volatile float*>(a.data()) = 1, "");
}

TEST(Device, CudaIsRefusedWhereItIsNotBuilt) {
  EXPECT_THROW(Buffer(64, Device::kCuda), base::Error);
}

}  // namespace
}  // namespace eyrie::tensor
