// Chooses the next token from logits: greedy, or sampled after the usual filters, in the order in
// which transformers applies them: repetition penalty, temperature, top-k, top-p, min-p.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/philox.h"

namespace eyrie::generation {

struct SamplingOptions {
  double temperature = 1.0;         // 0: greedy
  std::int64_t top_k = 0;           // the k most probable; 0: all
  double top_p = 1.0;               // the most probable whose sum reaches p (Holtzman et al. 2020)
  double min_p = 0.0;               // those with at least this fraction of the top probability
  double repetition_penalty = 1.0;  // of tokens that occurred before (Keskar et al. 2019)
  std::uint64_t seed = 1;
};

// Throws InputError naming a flag that is out of its range.
void check(const SamplingOptions& options);

// The set of tokens in a sequence: one bit per vocabulary entry, however long the sequence.
class TokenSet {
 public:
  explicit TokenSet(std::int64_t vocabulary)
      : bits_(static_cast<std::size_t>((vocabulary + 63) / 64)) {}
  void add(std::int32_t token) { word(token) |= bit(token); }
  // logits > 0 are divided by the penalty, others multiplied.
  void penalise(std::span<float> logits, double penalty) const;

 private:
  static std::uint64_t bit(std::int32_t token) { return std::uint64_t{1} << (token % 64); }
  std::uint64_t& word(std::int32_t token) { return bits_[static_cast<std::size_t>(token / 64)]; }
  std::vector<std::uint64_t> bits_;
};

// Samples the `index`-th token of a text from its logits (after the penalty). Depends on its
// arguments alone. Among equal logits the lowest id comes first.
std::int32_t sample(std::span<const float> logits, const SamplingOptions& options,
                    const base::Philox& draws, std::uint64_t index);

}  // namespace eyrie::generation
