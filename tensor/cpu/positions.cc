// Positions and attention bounds.
#include <algorithm>

#include "tensor/cpu/kernels.h"

namespace eyrie::tensor::cpu {

void continue_positions(std::span<const std::int64_t> starts, const Tensor& positions) {
  auto* place = positions.as<std::int32_t>();
  const std::int64_t length = starts.empty() ? 0 : positions.count() / std::ssize(starts);
  for (const std::int64_t start : starts) {
    for (std::int64_t t = 0; t < length; ++t) *place++ = static_cast<std::int32_t>(start + t);
  }
}

void first_keys(const Tensor& positions, std::int64_t sequences, std::int64_t past,
                std::int64_t reach, const Tensor& first_key) {
  const auto* place = positions.as<std::int32_t>();
  auto* first = first_key.as<std::int32_t>();
  const std::int64_t length = positions.count() / std::max<std::int64_t>(sequences, 1);
  for (std::int64_t at = 0; at < positions.count(); ++at) {
    const std::int64_t key = past + at % length - std::min<std::int64_t>(place[at], reach);
    EYRIE_CHECK(place[at] >= 0 && key >= 0, "a position before the start of its sequence");
    first[at] = static_cast<std::int32_t>(key);
  }
}

bool all_in_range(const Tensor& ids, std::int64_t end, const Tensor& weight) {
  const auto* id = ids.as<std::int32_t>();
  for (std::int64_t i = 0; i < ids.count(); ++i) {
    if ((!weight || weight.f32()[i] != 0) && (id[i] < 0 || id[i] >= end)) return false;
  }
  return true;
}

}  // namespace eyrie::tensor::cpu
