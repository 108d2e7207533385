// Reading safetensors.
#include "model/safetensors.h"

#include <fmt/format.h>

#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "tensor/dtype.h"

namespace eyrie::model {
namespace {

constexpr std::uint64_t kLargestHeader = 100'000'000;  // as the format's own library allows

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

}  // namespace

Safetensors::Safetensors(const base::Path& path) : file_(path) {
  const auto bytes = file_.bytes();
  const auto fail = [&](const std::string& why) -> base::InputError {
    return base::InputError(
        fmt::format("{}: not a whole safetensors file: {}", path.string(), why));
  };
  if (bytes.size() < 8) throw fail("it is shorter than its header length");
  std::uint64_t header = 0;
  std::memcpy(&header, bytes.data(), 8);
  if (header > kLargestHeader || header > bytes.size() - 8) {
    throw fail(fmt::format("the header claims {} bytes, the file has {}", header, bytes.size()));
  }
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + 8, header);
  const std::uint64_t data_size = bytes.size() - 8 - header;
  const std::byte* data = bytes.data() + 8 + header;
  try {
    const auto json = nlohmann::json::parse(text);
    if (!json.is_object()) throw fail("the header is not a JSON object");
    for (const auto& [name, value] : json.items()) {
      if (name == "__metadata__") continue;
      Entry entry;
      const std::string dtype = value.at("dtype").get<std::string>();
      std::uint64_t element = 2;
      if (dtype == "F32") {
        entry.dtype = DType::kFloat32;
        element = 4;
      } else if (dtype == "BF16") {
        entry.dtype = DType::kBFloat16;
      } else if (dtype == "F16") {
        entry.dtype = DType::kFloat16;
      } else {
        throw fail(
            fmt::format("tensor {} is of dtype {}; F32, BF16 and F16 are read", name, dtype));
      }
      std::uint64_t count = 1;
      for (const auto& size : value.at("shape")) {
        if (!size.is_number_unsigned())
          throw fail(fmt::format("tensor {} has a shape of other than whole numbers", name));
        const auto extent = size.get<std::uint64_t>();
        if (extent != 0 && count > data_size / extent)
          throw fail(fmt::format("tensor {} is larger than the file", name));
        count *= extent;
        entry.shape.push_back(static_cast<std::int64_t>(extent));
      }
      const auto& offsets = value.at("data_offsets");
      if (!offsets.is_array() || offsets.size() != 2 || !offsets[0].is_number_unsigned() ||
          !offsets[1].is_number_unsigned()) {
        throw fail(fmt::format("tensor {} has no two data_offsets", name));
      }
      const auto begin = offsets[0].get<std::uint64_t>(), end = offsets[1].get<std::uint64_t>();
      if (begin > end || end > data_size || end - begin != count * element) {
        throw fail(fmt::format("tensor {} lies at {}–{} of {} bytes, its shape needs {}", name,
                               begin, end, data_size, count * element));
      }
      entry.data = data + begin;
      entry.count = static_cast<std::int64_t>(count);
      entries_.emplace(name, std::move(entry));
    }
  } catch (const nlohmann::json::exception& error) {
    throw fail(fmt::format("the header is not the JSON it should be ({})", error.what()));
  }
}

void Safetensors::widen(const Entry& entry, float* out) {
  if (entry.dtype == DType::kFloat32) {
    std::memcpy(out, entry.data, static_cast<std::size_t>(entry.count) * 4);
    return;
  }
  for (std::int64_t i = 0; i < entry.count; ++i) {
    std::uint16_t bits = 0;
    std::memcpy(&bits, entry.data + 2 * i, 2);
    out[i] = entry.dtype == DType::kBFloat16 ? tensor::to_float(tensor::BFloat16{bits})
                                             : from_float16(bits);
  }
}

}  // namespace eyrie::model
