// Element types, and the one rounding from fp32 to bf16 that Eyrie uses (to nearest, ties to even,
// NaN kept).
#pragma once

#include <bit>
#include <cstdint>

namespace eyrie::tensor {

enum class DType : std::uint8_t { kFloat32, kBFloat16, kInt32, kInt8 };

constexpr std::int64_t size_of(DType dtype) {
  return dtype == DType::kBFloat16 ? 2 : dtype == DType::kInt8 ? 1 : 4;
}
constexpr const char* name_of(DType dtype) {
  return dtype == DType::kFloat32    ? "fp32"
         : dtype == DType::kBFloat16 ? "bf16"
         : dtype == DType::kInt8     ? "int8"
                                     : "int32";
}

// The upper half of an fp32. Storage only; arithmetic happens in fp32.
struct BFloat16 {
  std::uint16_t bits = 0;
};

constexpr float to_float(BFloat16 value) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(value.bits) << 16);
}
constexpr float to_float(float value) { return value; }

constexpr BFloat16 to_bfloat16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return {static_cast<std::uint16_t>((bits >> 16) | 0x40u)};
  return {static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
}

template <class T>
constexpr DType dtype_of();
template <>
constexpr DType dtype_of<float>() {
  return DType::kFloat32;
}
template <>
constexpr DType dtype_of<BFloat16>() {
  return DType::kBFloat16;
}
template <>
constexpr DType dtype_of<std::int32_t>() {
  return DType::kInt32;
}
template <>
constexpr DType dtype_of<std::int8_t>() {
  return DType::kInt8;
}

}  // namespace eyrie::tensor
