// Sampling: one prompt continued token by token from a State of constant size.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "model/griffin.h"

namespace eyrie::model {

struct SamplingOptions {
  double temperature = 1.0;  // 0: greedy
  std::int64_t top_k = 0;    // 0: all
  double top_p = 1.0;        // the smallest set of most probable tokens whose sum reaches it
  std::uint64_t seed = 1;
};

// The token drawn from `logits` as the `index`-th of a text: a pure function of (options, index,
// logits). Ties go to the lowest id.
std::int32_t sample(std::span<const float> logits, const SamplingOptions& options,
                    std::uint64_t index);

// Reads `prompt` (at least one token) and hands each new token to `take` until that returns false
// or `most` were made. Returns the number of tokens made.
std::int64_t generate(const Griffin& griffin, const Parameters& parameters,
                      std::span<const std::int32_t> prompt, std::int64_t most,
                      const SamplingOptions& options,
                      const std::function<bool(std::int32_t)>& take);

}  // namespace eyrie::model
