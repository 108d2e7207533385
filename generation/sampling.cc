// Sampling. The whole vocabulary is scanned only for its largest logit and its sum; no more of it
// is sorted than the filters need.
#include "generation/sampling.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/error.h"

namespace eyrie::generation {
namespace {

// Returns the lowest id of the largest logit. Keeps several running maxima: a single one would wait
// for each compare.
std::int32_t argmax(std::span<const float> logits) {
  constexpr std::size_t kLanes = 16;
  std::array<float, kLanes> most;
  most.fill(-std::numeric_limits<float>::infinity());
  std::size_t i = 0;
  for (; i + kLanes <= logits.size(); i += kLanes)
    for (std::size_t j = 0; j < kLanes; ++j) most[j] = std::max(most[j], logits[i + j]);
  for (; i < logits.size(); ++i) most[0] = std::max(most[0], logits[i]);
  const auto at =
      std::find(logits.begin(), logits.end(), *std::max_element(most.begin(), most.end()));
  return static_cast<std::int32_t>(at == logits.end() ? 0 : at - logits.begin());
}

// Returns the first of `ids` at which the running sum of `chances` passes the fraction `share` of
// their total.
std::int32_t draw(std::span<const std::int32_t> ids, std::span<const double> chances,
                  double share) {
  double left = share * std::accumulate(chances.begin(), chances.end(), 0.0);
  for (std::size_t i = 0; i + 1 < chances.size(); ++i) {
    left -= chances[i];
    if (left < 0) return ids[i];
  }
  return ids.back();
}

}  // namespace

void check(const SamplingOptions& options) {
  const auto refuse = [](const char* flag, double value, const char* range) {
    throw base::InputError(fmt::format("{} is {}; it must be {}", flag, value, range));
  };
  if (!(options.temperature >= 0) || std::isinf(options.temperature))
    refuse("--temperature", options.temperature, "0 (greedy) or above");
  if (options.top_k < 0) refuse("--top-k", static_cast<double>(options.top_k), "0 (all) or above");
  if (!(options.top_p > 0 && options.top_p <= 1))
    refuse("--top-p", options.top_p, "above 0 and at most 1 (all)");
  if (!(options.min_p >= 0 && options.min_p <= 1))
    refuse("--min-p", options.min_p, "from 0 (all) to 1");
  if (!(options.repetition_penalty > 0) || std::isinf(options.repetition_penalty))
    refuse("--repetition-penalty", options.repetition_penalty, "above 0; 1 is none");
}

void TokenSet::penalise(std::span<float> logits, double penalty) const {
  if (penalty == 1) return;
  const auto by = static_cast<float>(penalty);
  for (std::size_t w = 0; w < bits_.size(); ++w) {
    for (std::uint64_t left = bits_[w]; left != 0; left &= left - 1) {
      const std::size_t token = w * 64 + static_cast<std::size_t>(std::countr_zero(left));
      if (token >= logits.size()) return;
      logits[token] = logits[token] > 0 ? logits[token] / by : logits[token] * by;
    }
  }
}

std::int32_t sample(std::span<const float> logits, const SamplingOptions& options,
                    const base::Philox& draws, std::uint64_t index) {
  const std::int32_t best = argmax(logits);
  if (options.temperature <= 0 || options.top_k == 1) return best;
  const double top = static_cast<double>(logits[static_cast<std::size_t>(best)]);
  const auto chance = [&](std::int32_t id) {
    return std::exp((static_cast<double>(logits[static_cast<std::size_t>(id)]) - top) /
                    options.temperature);
  };
  const auto more = [&](std::int32_t a, std::int32_t b) {
    const float x = logits[static_cast<std::size_t>(a)], y = logits[static_cast<std::size_t>(b)];
    return x != y ? x > y : a < b;
  };
  std::vector<std::int32_t> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  if (options.top_k > 0 && options.top_k < static_cast<std::int64_t>(ids.size())) {
    std::nth_element(ids.begin(), ids.begin() + options.top_k, ids.end(), more);
    ids.resize(static_cast<std::size_t>(options.top_k));
  }
  const bool cut = options.top_p < 1 || options.min_p > 0;
  std::vector<double> chances;
  if (!cut) {
    if (options.top_k > 0) std::sort(ids.begin(), ids.end(), more);
    for (const std::int32_t id : ids) chances.push_back(chance(id));
    return draw(ids, chances, draws.uniform(index));
  }
  double wanted = std::numeric_limits<double>::infinity();  // the sum at which top-p is reached
  if (options.top_p < 1) {
    double total = 0;
    for (std::size_t i = 0; i < ids.size(); ++i) total += chance(ids[i]);
    wanted = options.top_p * total;
  }
  // Sorts from the most probable token on, a chunk at a time, until a filter's limit is reached.
  double reached = 0;
  bool done = false;
  for (std::size_t sorted = 0, piece = 256; !done && sorted < ids.size(); piece *= 8) {
    const std::size_t end = std::min(ids.size(), sorted + piece);
    const auto at = [&](std::size_t i) { return ids.begin() + static_cast<std::ptrdiff_t>(i); };
    std::partial_sort(at(sorted), at(end), ids.end(), more);
    for (; !done && sorted < end; ++sorted) {
      const double next = chance(ids[sorted]);
      done = reached >= wanted || (next < options.min_p && sorted > 0);
      if (done) break;
      chances.push_back(next);
      reached += next;
    }
  }
  return draw(std::span(ids).first(chances.size()), chances, draws.uniform(index));
}

}  // namespace eyrie::generation
