// Tests the bits: a value is not finite if its exponent is all ones.
#include "model/weights/finite.h"

#include <fmt/format.h>

#include <atomic>
#include <cstring>

#include "base/error.h"
#include "tensor/threads.h"

namespace eyrie::model {
namespace {

constexpr std::int64_t kGrain = std::int64_t{1} << 18;  // minimum elements per thread

// Whether any value is not finite, eight bytes at a time: adding one to an exponent of all ones
// carries into the sign bit, and no further. Nearly all files have none, so only this must be fast.
template <class Word, Word kExponent>
bool any(const std::byte* values, std::int64_t elements) {
  constexpr auto kPerBlock = static_cast<std::int64_t>(sizeof(std::uint64_t) / sizeof(Word));
  constexpr std::uint64_t kEach = sizeof(Word) == 2 ? 0x0001000100010001u : 0x0000000100000001u;
  constexpr std::uint64_t kMask = kEach * kExponent;
  constexpr std::uint64_t kLast = kEach * (kExponent & (~kExponent + 1u));
  constexpr std::uint64_t kSign = kEach << (8 * sizeof(Word) - 1);
  std::uint64_t found = 0;
  std::int64_t i = 0;
  for (; i + kPerBlock <= elements; i += kPerBlock) {
    std::uint64_t block = 0;
    std::memcpy(&block, values + i * static_cast<std::int64_t>(sizeof(Word)), sizeof block);
    found |= ((block & kMask) + kLast) & kSign;
  }
  for (; i < elements; ++i) {
    Word word = 0;
    std::memcpy(&word, values + i * static_cast<std::int64_t>(sizeof(Word)), sizeof(Word));
    found |= (word & kExponent) == kExponent ? 1u : 0u;
  }
  return found != 0;
}

template <class Word, Word kExponent>
std::int64_t count(const std::byte* values, std::int64_t elements) {
  std::atomic<std::int64_t> all = 0;
  tensor::parallel_for(elements, kGrain, [&](std::int64_t begin, std::int64_t end) {
    const std::byte* from = values + begin * static_cast<std::int64_t>(sizeof(Word));
    if (!any<Word, kExponent>(from, end - begin)) return;
    std::int64_t found = 0;
    for (std::int64_t i = 0; i < end - begin; ++i) {
      Word word = 0;
      std::memcpy(&word, from + i * static_cast<std::int64_t>(sizeof(Word)), sizeof(Word));
      found += (word & kExponent) == kExponent ? 1 : 0;
    }
    all += found;
  });
  return all;
}

}  // namespace

std::int64_t count_not_finite(StoredType type, const std::byte* values, std::int64_t elements) {
  switch (type) {
    case StoredType::kFloat32:
      return count<std::uint32_t, 0x7f800000u>(values, elements);
    case StoredType::kBFloat16:
      return count<std::uint16_t, 0x7f80u>(values, elements);
    case StoredType::kFloat16:
      return count<std::uint16_t, 0x7c00u>(values, elements);
  }
  return 0;
}

std::int64_t count_not_finite(const float* values, std::int64_t elements) {
  return count_not_finite(StoredType::kFloat32, reinterpret_cast<const std::byte*>(values),
                          elements);
}

void refuse_not_finite(const std::string& place, const std::string& tensor, std::int64_t not_finite,
                       std::int64_t of) {
  throw base::InputError(
      fmt::format("{}: tensor {} has {} of {} that {} no finite number{}: the file is damaged, or "
                  "the training that wrote it had diverged; use another copy or an earlier one",
                  place, tensor, base::counted(not_finite, "value"), of,
                  not_finite == 1 ? "is" : "are", not_finite == 1 ? "" : "s"));
}

void check_finite(const std::string& place, const std::string& tensor, const float* values,
                  std::int64_t elements, std::int64_t of,
                  const std::function<std::int64_t()>& whole) {
  const std::int64_t here = count_not_finite(values, elements);
  if (here > 0) refuse_not_finite(place, tensor, whole ? whole() : here, of);
}

}  // namespace eyrie::model
