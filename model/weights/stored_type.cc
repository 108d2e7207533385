// fp32, bf16 and fp16 in files.
#include "model/weights/stored_type.h"

#include <fmt/format.h>

#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "tensor/dtype.h"
#include "tensor/threads.h"

namespace eyrie::model {
namespace {

constexpr std::int64_t kGrain = 16384;  // minimum elements per thread

float from_float16(std::uint16_t bits) {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000u) << 16;
  std::uint32_t exponent = (bits >> 10) & 0x1fu, fraction = bits & 0x3ffu;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | (fraction << 13));
  if (exponent == 0) {
    if (fraction == 0) return std::bit_cast<float>(sign);
    exponent = 1;
    while ((fraction & 0x400u) == 0)
      fraction <<= 1, --exponent;  // wraps below 0 and comes back in the sum
    fraction &= 0x3ffu;
  }
  return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (fraction << 13));
}

std::uint16_t to_float16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = (bits >> 16) & 0x8000u, magnitude = bits & 0x7fffffffu;
  const auto with_sign = [&](std::uint32_t half) {
    return static_cast<std::uint16_t>(sign | half);
  };
  if (magnitude > 0x7f800000u) {  // NaN: the payload's upper bits, or a nonzero one
    const std::uint32_t payload = (magnitude >> 13) & 0x3ffu;
    return with_sign(0x7c00u | (payload != 0 ? payload : 0x200u));
  }
  if (magnitude >= 0x47800000u) return with_sign(0x7c00u);  // 65536 and above
  if (magnitude < 0x38800000u) {
    // Below the smallest normal number, fp16 values are multiples of 2^-24, which is also the
    // spacing of fp32 at 1/2: the sum rounds as wanted.
    const float sum = std::bit_cast<float>(magnitude) + 0.5f;
    return with_sign(std::bit_cast<std::uint32_t>(sum) - 0x3f000000u);
  }
  return with_sign((magnitude + 0xfffu + ((magnitude >> 13) & 1u) - 0x38000000u) >> 13);
}

std::uint16_t to_bfloat16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  // A NaN that fits keeps its bits; others, and numbers, round as everywhere in Eyrie.
  if ((bits & 0x7fffffffu) > 0x7f800000u && (bits & 0x7f0000u) != 0)
    return static_cast<std::uint16_t>(bits >> 16);
  return tensor::to_bfloat16(value).bits;
}

bool became_infinite(float before, float after) { return std::isinf(after) && !std::isinf(before); }

}  // namespace

const char* name_of(StoredType type) {
  return type == StoredType::kFloat32 ? "fp32" : type == StoredType::kBFloat16 ? "bf16" : "fp16";
}

const char* safetensors_name_of(StoredType type) {
  return type == StoredType::kFloat32 ? "F32" : type == StoredType::kBFloat16 ? "BF16" : "F16";
}

const char* torch_name_of(StoredType type) {
  return type == StoredType::kFloat32    ? "float32"
         : type == StoredType::kBFloat16 ? "bfloat16"
                                         : "float16";
}

StoredType stored_type(const std::string& name) {
  for (const StoredType type :
       {StoredType::kFloat32, StoredType::kBFloat16, StoredType::kFloat16}) {
    if (name == name_of(type)) return type;
  }
  throw base::InputError(fmt::format("'{}' is no type of weights; use fp32, bf16 or fp16", name));
}

void widen(StoredType type, const std::byte* in, std::int64_t count, float* out) {
  if (type == StoredType::kFloat32) {
    if (count > 0) std::memcpy(out, in, static_cast<std::size_t>(count) * 4);
    return;
  }
  tensor::parallel_for(count, kGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      std::uint16_t bits = 0;
      std::memcpy(&bits, in + 2 * i, 2);  // data in files need not be aligned
      out[i] = type == StoredType::kBFloat16 ? tensor::to_float(tensor::BFloat16{bits})
                                             : from_float16(bits);
    }
  });
}

bool narrow(StoredType type, const float* in, std::int64_t count, std::byte* out) {
  if (type == StoredType::kFloat32) {
    if (count > 0) std::memcpy(out, in, static_cast<std::size_t>(count) * 4);
    return true;
  }
  std::atomic<bool> in_range = true;
  tensor::parallel_for(count, kGrain, [&](std::int64_t begin, std::int64_t end) {
    bool all = true;
    for (std::int64_t i = begin; i < end; ++i) {
      const bool bf16 = type == StoredType::kBFloat16;
      const std::uint16_t bits = bf16 ? to_bfloat16(in[i]) : to_float16(in[i]);
      std::memcpy(out + 2 * i, &bits, 2);
      const float after = bf16 ? tensor::to_float(tensor::BFloat16{bits}) : from_float16(bits);
      all = all && !became_infinite(in[i], after);
    }
    if (!all) in_range = false;
  });
  return in_range;
}

}  // namespace eyrie::model
