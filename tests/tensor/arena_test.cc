// Arena and Buffer, and the views of tensor.h that they hand out.
#include "tensor/arena.h"

#include <gtest/gtest.h>

#include <cstring>

namespace eyrie::tensor {
namespace {

bool aligned(const Tensor& tensor) {
  return reinterpret_cast<std::uintptr_t>(tensor.data()) % 64 == 0;
}

TEST(Arena, PiecesAreAlignedAndApart) {
  Arena arena(1024);
  std::vector<Tensor> pieces;
  for (std::int64_t i = 0; i < 60; ++i) {
    const DType dtype = i % 2 == 0 ? DType::kFloat32 : DType::kBFloat16;
    pieces.push_back(arena.allocate(dtype, 1 + i % 5, 1 + i % 7));
    std::memset(pieces.back().data(), static_cast<int>(i),
                static_cast<std::size_t>(pieces.back().count() * size_of(dtype)));
  }
  for (std::size_t i = 0; i < pieces.size(); ++i) {  // later ones overwrote nothing, nothing moved
    const Tensor& piece = pieces[i];
    EXPECT_TRUE(aligned(piece));
    EXPECT_TRUE(piece.contiguous());
    const auto* bytes = static_cast<const unsigned char*>(piece.data());
    for (std::int64_t b = 0; b < piece.count() * size_of(piece.dtype()); ++b)
      ASSERT_EQ(bytes[b], i) << i;
  }
}

TEST(Arena, MemoryComesBackWithTheMark) {
  Arena arena(4096);
  const Tensor kept = arena.allocate(DType::kFloat32, 1, 16);
  const Arena::Mark mark = arena.mark();
  std::vector<void*> first, second;
  const auto fill = [&](std::vector<void*>& places) {
    for (int i = 0; i < 100; ++i) places.push_back(arena.allocate(DType::kFloat32, 3, 37).data());
  };
  fill(first);
  const std::size_t peak = arena.peak_bytes();
  EXPECT_GE(peak, 100u * 3 * 37 * 4);
  arena.release(mark);
  fill(second);
  EXPECT_EQ(first, second);
  EXPECT_EQ(arena.peak_bytes(), peak);
  EXPECT_NE(kept.data(), second.front());
}

TEST(Arena, AScopeReleasesAtItsEnd) {
  Arena arena(1 << 12);
  void* inside = nullptr;
  {
    ArenaScope scope(arena);
    inside = arena.allocate(DType::kFloat32, 4, 4).data();
    arena.allocate(DType::kFloat32, 4000, 4);  // of a chunk of its own
  }
  EXPECT_EQ(arena.allocate(DType::kFloat32, 4, 4).data(), inside);
}

TEST(Arena, APieceLargerThanAChunkGetsItsOwn) {
  Arena arena(256);
  const Tensor small = arena.allocate(DType::kBFloat16, 1, 10);
  const Tensor large = arena.zeros(DType::kFloat32, 100, 100);
  const Tensor after = arena.allocate(DType::kBFloat16, 1, 10);
  EXPECT_TRUE(aligned(large) && aligned(small) && aligned(after));
  for (std::int64_t i = 0; i < large.count(); ++i) ASSERT_EQ(large.f32()[i], 0.0f);
  EXPECT_GE(arena.peak_bytes(), 40000u);
}

TEST(Arena, PiecesThatGrowTakeTheSameChunk) {
  Arena arena(256);
  Tensor kept = arena.allocate(DType::kFloat32, 1, 16);
  kept.f32()[0] = 5;
  for (std::int64_t rows = 100; rows <= 200; ++rows) {
    ArenaScope scope(arena);
    arena.zeros(DType::kFloat32, rows, 16);
    arena.zeros(DType::kFloat32, 2 * rows, 16);
  }
  EXPECT_LE(arena.held_bytes(), 256u + 800 * 64);
  EXPECT_EQ(kept.f32()[0], 5);
}

TEST(Arena, ZerosAreZeroInUsedMemory) {
  Arena arena(4096);
  const Arena::Mark start = arena.mark();
  const Tensor used = arena.allocate(DType::kFloat32, 9, 9);
  std::fill(used.f32(), used.f32() + used.count(), 7.0f);
  arena.release(start);
  const Tensor fresh = arena.zeros(DType::kFloat32, 9, 9);
  ASSERT_EQ(fresh.data(), used.data());
  for (std::int64_t i = 0; i < fresh.count(); ++i) EXPECT_EQ(fresh.f32()[i], 0.0f);
}

TEST(Arena, PiecesWithoutElements) {
  Arena arena(256);
  const Tensor none = arena.zeros(DType::kFloat32, 0, 5);
  EXPECT_TRUE(none.empty());
  EXPECT_EQ(none.count(), 0);
  EXPECT_EQ(arena.allocate(DType::kFloat32, 1, 1).data(), none.data());
}

TEST(Buffer, ZeroAndEmpty) {
  Buffer buffer(100);
  EXPECT_EQ(buffer.size(), 100u);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.data()) % 64, 0u);
  std::memset(buffer.data(), 1, 100);
  buffer.zero();
  for (int i = 0; i < 25; ++i) EXPECT_EQ(buffer.f32()[i], 0.0f);
  Buffer none, empty(0);
  none.zero();
  empty.zero();
  EXPECT_EQ(none.size() + empty.size(), 0u);
}

TEST(TensorViews, RowsColumnsAndShapes) {
  float memory[24];
  for (int i = 0; i < 24; ++i) memory[i] = static_cast<float>(i);
  const Tensor whole(memory, DType::kFloat32, 4, 6);
  EXPECT_TRUE(whole.contiguous());
  const Tensor rows = whole.row_range(1, 2);
  EXPECT_EQ(rows.f32()[0], 6.0f);
  EXPECT_TRUE(rows.contiguous());
  const Tensor block = rows.column_range(2, 3);
  EXPECT_EQ(block.f32()[0], 8.0f);
  EXPECT_EQ(block.rows(), 2);
  EXPECT_EQ(block.columns(), 3);
  EXPECT_EQ(block.stride(), 6);
  EXPECT_FALSE(block.contiguous());
  EXPECT_TRUE(block.row_range(1, 1).contiguous());
  EXPECT_EQ(block.row_range(1, 1).f32()[2], 16.0f);
  const Tensor turned = whole.reshaped(8, 3);
  EXPECT_EQ(turned.row_range(7, 1).f32()[2], 23.0f);
  EXPECT_TRUE(Tensor().empty());
  EXPECT_FALSE(Tensor());
  EXPECT_TRUE(whole.row_range(4, 0).empty());
  EXPECT_TRUE(whole.row_range(4, 0));
}

TEST(TensorViewsDeathTest, AWrongTypeOrShapeIsCaught) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  float memory[24];
  const Tensor whole(memory, DType::kFloat32, 4, 6);
  EXPECT_DEATH(whole.as<BFloat16>(), "a tensor of fp32 read as another type");
  EXPECT_DEATH(whole.reshaped(5, 5), "to another size");
  EXPECT_DEATH(whole.column_range(0, 3).reshaped(2, 6), "strided");
}

}  // namespace
}  // namespace eyrie::tensor
