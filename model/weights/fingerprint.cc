// Sums of element hashes.
#include "model/weights/fingerprint.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/hash.h"
#include "tensor/threads.h"

namespace eyrie::model {
namespace {

constexpr std::uint64_t kOdd = 0x9E3779B97F4A7C15, kOther = 0xD6E8FEB86659FD93;

// The sum over `count` elements that are contiguous in the whole tensor.
std::uint64_t sum_of_run(std::uint64_t seed, std::int64_t place, std::int64_t count,
                         const float* values) {
  std::uint64_t sum = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    std::uint64_t x = seed + static_cast<std::uint64_t>(place + i) * kOdd;
    x = (x ^ (x >> 32)) + std::bit_cast<std::uint32_t>(values[i]) * kOther;
    x = (x ^ (x >> 29)) * kOdd;
    sum += x ^ (x >> 32);
  }
  return sum;
}

}  // namespace

std::uint64_t weight_sum(const parallel::ParameterInfo& info, std::int64_t first,
                         std::int64_t count, const float* values) {
  const std::uint64_t seed = base::hash_text(info.name);
  // Whichever axis a slice is cut along, the elements along its last axis are contiguous.
  const std::int64_t line =
      info.replicated() || info.extent.empty() ? info.whole_count() : info.extent.back();
  constexpr std::int64_t kPart = std::int64_t{1} << 16;
  const std::int64_t parts = (count + kPart - 1) / kPart;
  std::vector<std::uint64_t> sums(static_cast<std::size_t>(parts));
  tensor::parallel_for(parts, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t part = begin; part < end; ++part) {
      const std::int64_t last = std::min(count, (part + 1) * kPart);
      for (std::int64_t at = part * kPart; at < last;) {
        const std::int64_t run = std::min(last - at, line - (first + at) % line);
        sums[static_cast<std::size_t>(part)] +=
            sum_of_run(seed, parallel::global_index(info, first + at), run, values + at);
        at += run;
      }
    }
  });
  std::uint64_t sum = 0;
  for (const std::uint64_t part : sums) sum += part;
  return sum;
}

std::string fingerprint(std::uint64_t sum, const GriffinConfig& config) {
  auto sizes = nlohmann::json::parse(to_json(config));
  sizes.erase("preset");  // only a name, and how the weights started
  sizes.erase("init");
  return base::hex(base::hash_text(fmt::format("{:016x} {}", sum, sizes.dump())));
}

std::string fingerprint(const WeightSource& source) {
  std::uint64_t sum = 0;
  std::vector<float> values;
  for (const parallel::ParameterInfo& info : rows_of(source.config())) {
    const std::int64_t piece = info.linear ? info.count() / info.parts : kPieceElements;
    for (std::int64_t first = 0; first < info.count(); first += piece) {
      const std::int64_t count = std::min(piece, info.count() - first);
      values.resize(static_cast<std::size_t>(count));
      source.read(info, first, count, values.data());
      sum += weight_sum(info, first, count, values.data());
    }
  }
  return fingerprint(sum, source.config());
}

}  // namespace eyrie::model
