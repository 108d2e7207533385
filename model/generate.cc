// Sampling and the generation loop.
#include "model/generate.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/philox.h"

namespace eyrie::model {

using tensor::DType;
using tensor::Tensor;

namespace {

constexpr std::int64_t kPrefillTokens = 2048;  // a prompt of any length is read in pieces of this

}  // namespace

std::int32_t sample(std::span<const float> logits, const SamplingOptions& options,
                    std::uint64_t index) {
  const auto best = std::max_element(logits.begin(), logits.end());
  if (options.temperature <= 0) return static_cast<std::int32_t>(best - logits.begin());
  // Most probable first; equal ones by id.
  std::vector<std::int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  const auto more = [&](std::int32_t a, std::int32_t b) {
    const float x = logits[static_cast<std::size_t>(a)], y = logits[static_cast<std::size_t>(b)];
    return x != y ? x > y : a < b;
  };
  std::size_t kept = order.size();
  if (options.top_k > 0) kept = std::min(kept, static_cast<std::size_t>(options.top_k));
  if (kept < order.size()) {
    std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(kept), order.end(),
                      more);
  } else if (options.top_p < 1) {
    std::sort(order.begin(), order.end(), more);
  }
  order.resize(kept);
  std::vector<double> chance(kept);
  double total = 0;
  for (std::size_t i = 0; i < kept; ++i) {
    chance[i] = std::exp((static_cast<double>(logits[static_cast<std::size_t>(order[i])]) -
                          static_cast<double>(*best)) /
                         options.temperature);
    total += chance[i];
  }
  if (options.top_p < 1) {
    double reached = 0;
    std::size_t last = 0;
    while (last < kept && (last == 0 || reached < options.top_p * total)) reached += chance[last++];
    kept = last;
    total = reached;
  }
  double left = base::Philox(options.seed, "sampling").uniform(index) * total;
  for (std::size_t i = 0; i + 1 < kept; ++i) {
    left -= chance[i];
    if (left < 0) return order[i];
  }
  return order[kept - 1];
}

std::int64_t generate(const Griffin& griffin, const Parameters& parameters,
                      std::span<const std::int32_t> prompt, std::int64_t most,
                      const SamplingOptions& options,
                      const std::function<bool(std::int32_t)>& take) {
  EYRIE_CHECK(!prompt.empty(), "generate from an empty prompt");
  Workspace workspace;
  State state(griffin.config(), parameters.compute(), 1);
  std::vector<float> logits(static_cast<std::size_t>(griffin.config().vocabulary));
  const Tensor out(logits.data(), DType::kFloat32, 1, griffin.config().vocabulary);
  const auto read = [&](std::span<const std::int32_t> tokens) {
    const auto count = static_cast<std::int64_t>(tokens.size());
    const Tensor hidden = griffin.read(parameters, tokens, count, state, workspace, count == 1);
    griffin.logits(parameters, hidden.row_range(count - 1, 1), out, true, true);
  };
  for (std::size_t begin = 0; begin < prompt.size(); begin += kPrefillTokens) {
    read(prompt.subspan(begin, std::min<std::size_t>(kPrefillTokens, prompt.size() - begin)));
  }
  for (std::int64_t made = 0; made < most; ++made) {
    const std::int32_t token = sample(logits, options, static_cast<std::uint64_t>(made));
    if (!take(token)) return made + 1;
    if (made + 1 < most) read(std::span(&token, 1));
  }
  return most;
}

}  // namespace eyrie::model
