// bf16: the scalar rounding and the vector one, on every bf16 value, its neighbours and its ties.
#include "tensor/dtype.h"

#include <cmath>
#include <limits>

#include "support/arrays.h"
#include "tensor/ops/elementwise.h"

namespace eyrie::tensor {
namespace {

using test::Array;

float from_bits(std::uint32_t bits) { return std::bit_cast<float>(bits); }

// Rounds by looking for the nearer of the two bf16 values around x; of two as near, the even one.
std::uint16_t nearest_even(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  const auto below = static_cast<std::uint16_t>(bits >> 16);  // towards zero
  // Beyond the largest finite value, infinity counts as the next power of two.
  const auto value = [](std::uint16_t half) {
    const float v = from_bits(static_cast<std::uint32_t>(half) << 16);
    return std::isinf(v) ? std::copysign(std::ldexp(1.0, 128), static_cast<double>(v))
                         : static_cast<double>(v);
  };
  const auto above = static_cast<std::uint16_t>(below + 1);
  const double down = std::abs(static_cast<double>(x) - value(below));
  const double up = std::abs(value(above) - static_cast<double>(x));
  if (down != up) return down < up ? below : above;
  return (below & 1) == 0 ? below : above;
}

// For every finite bf16 value: itself, the fp32 values around the middle to the next, the ends.
std::vector<float> interesting_values() {
  std::vector<float> all;
  for (std::uint32_t half = 0; half < 0x10000; ++half) {
    if ((half & 0x7fff) >= 0x7f80) continue;
    for (const std::uint32_t low : {0u, 1u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu})
      all.push_back(from_bits(half << 16 | low));
  }
  return all;
}

TEST(BFloat16Rounding, ToNearestWithTiesToEven) {
  const std::vector<float> values = interesting_values();
  ASSERT_EQ(values.size(), 6u * (0x10000 - 2 * 0x80));
  Array from = Array::of(DType::kFloat32, 1, static_cast<std::int64_t>(values.size()), values);
  Array to(DType::kBFloat16, 1, from->columns()), back(DType::kFloat32, 1, from->columns());
  convert(from, to);
  convert(to, back);
  int wrong = 0;
  for (std::size_t i = 0; i < values.size() && wrong < 5; ++i) {
    const std::uint16_t expected = nearest_even(values[i]);
    const std::uint16_t scalar = to_bfloat16(values[i]).bits, vector = to->as<BFloat16>()[i].bits;
    const auto widened = std::bit_cast<std::uint32_t>(back->f32()[i]);
    if (scalar == expected && vector == expected && widened == std::uint32_t{expected} << 16)
      continue;
    ++wrong;
    ADD_FAILURE() << std::hexfloat << values[i] << " became " << std::hex << scalar << " and "
                  << vector << " (widened " << widened << ") instead of " << expected;
  }
}

TEST(BFloat16Rounding, KeepsNanAndInfinity) {
  std::vector<float> values;
  for (const std::uint32_t sign : {0u, 0x80000000u}) {
    values.push_back(from_bits(sign | 0x7f800000u));  // infinity
    // NaNs, those among them whose upper half alone would read as infinity.
    for (const std::uint32_t rest : {1u, 0x7fffu, 0x8000u, 0xffffu, 0x10000u, 0x400000u, 0x7fffffu})
      values.push_back(from_bits(sign | 0x7f800000u | rest));
  }
  // Not through put(): a double on the way would quieten the NaNs.
  Array from(DType::kFloat32, 1, static_cast<std::int64_t>(values.size()));
  std::memcpy(from->data(), values.data(), values.size() * sizeof(float));
  Array to(DType::kBFloat16, 1, from->columns());
  convert(from, to);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const float scalar = to_float(to_bfloat16(values[i])), vector = to_float(to->as<BFloat16>()[i]);
    EXPECT_EQ(std::isnan(scalar), std::isnan(values[i])) << i;
    EXPECT_EQ(std::isinf(scalar), std::isinf(values[i])) << i;
    EXPECT_EQ(std::signbit(scalar), std::signbit(values[i])) << i;
    EXPECT_EQ(to_bfloat16(values[i]).bits, to->as<BFloat16>()[i].bits) << i << " " << vector;
  }
}

TEST(BFloat16Rounding, TheTwinsAgreeOnRandomBits) {
  const base::Philox random(3, "bits");
  Array from(DType::kFloat32, 257, 1021), to(DType::kBFloat16, 257, 1021);
  auto* bits = static_cast<std::uint32_t*>(from->data());
  for (std::int64_t i = 0; i < from->count(); ++i)
    bits[i] = random.block(static_cast<std::uint64_t>(i))[0];
  convert(from, to);
  std::int64_t differ = 0;
  for (std::int64_t i = 0; i < from->count(); ++i) {
    differ += to_bfloat16(std::bit_cast<float>(bits[i])).bits != to->as<BFloat16>()[i].bits;
  }
  EXPECT_EQ(differ, 0);
}

TEST(DTypes, SizesAndNames) {
  EXPECT_EQ(size_of(DType::kFloat32), 4);
  EXPECT_EQ(size_of(DType::kBFloat16), 2);
  EXPECT_EQ(size_of(DType::kInt32), 4);
  EXPECT_STREQ(name_of(DType::kFloat32), "fp32");
  EXPECT_STREQ(name_of(DType::kBFloat16), "bf16");
  EXPECT_STREQ(name_of(DType::kInt32), "int32");
}

}  // namespace
}  // namespace eyrie::tensor
