// The decoder.
#include "generation/decoder.h"

#include <algorithm>

#include "base/error.h"
#include "tensor/ops/elementwise.h"

namespace eyrie::generation {

using tensor::DType;
using tensor::Tensor;

namespace {

constexpr std::int64_t kPrefillTokens = 2048;  // longer prompts are read in chunks of this many

}  // namespace

Decoder::Decoder(const model::Griffin& griffin, const model::Parameters& parameters,
                 std::int64_t vocabulary)
    : griffin_(griffin),
      parameters_(parameters),
      vocabulary_(std::min(vocabulary, griffin.config().vocabulary)),
      all_(griffin.config().vocabulary) {}

std::span<float> Decoder::logits_of(const Tensor& hidden) {
  logits_.resize(static_cast<std::size_t>(hidden.rows() * all_));
  griffin_.lm_head().logits(parameters_, hidden,
                            {logits_.data(), DType::kFloat32, hidden.rows(), all_}, true, true);
  return logits_;
}

std::span<float> Decoder::read(std::span<const std::int32_t> tokens, model::State& state) {
  EYRIE_CHECK(!tokens.empty() && state.sequences() == 1, "tokens for a state of one sequence");
  // A text continued token by token has the same bits as one that never stopped; a prompt has the
  // same bits as in a batch of read_all().
  if (tokens.size() == 1 && state.tokens(0) > 0) return step(tokens, state);
  Tensor hidden;
  for (std::size_t begin = 0; begin < tokens.size(); begin += kPrefillTokens) {
    const auto piece =
        tokens.subspan(begin, std::min<std::size_t>(kPrefillTokens, tokens.size() - begin));
    hidden = griffin_.prefill(parameters_, piece, static_cast<std::int64_t>(piece.size()), state,
                              workspace_);
  }
  return logits_of(hidden.row_range(hidden.rows() - 1, 1));
}

std::span<float> Decoder::read_all(std::span<const std::span<const std::int32_t>> prompts,
                                   model::State& state) {
  std::size_t longest = 0;
  for (const auto& prompt : prompts) longest = std::max(longest, prompt.size());
  std::vector<std::int32_t> tokens(prompts.size() * longest, 0);
  std::vector<std::int64_t> lengths;
  for (std::size_t s = 0; s < prompts.size(); ++s) {
    std::copy(prompts[s].begin(), prompts[s].end(),
              tokens.begin() + static_cast<std::ptrdiff_t>(s * longest));
    lengths.push_back(static_cast<std::int64_t>(prompts[s].size()));
  }
  const Tensor hidden = griffin_.prefill(parameters_, tokens, static_cast<std::int64_t>(longest),
                                         state, workspace_, {.lengths = lengths});
  const Tensor last = workspace_.scratch.allocate(
      hidden.dtype(), static_cast<std::int64_t>(prompts.size()), hidden.columns());
  for (std::size_t s = 0; s < prompts.size(); ++s) {
    const auto at = static_cast<std::int64_t>(s * longest) + lengths[s] - 1;
    tensor::copy(hidden.row_range(at, 1), last.row_range(static_cast<std::int64_t>(s), 1));
  }
  return logits_of(last);
}

std::span<float> Decoder::step(std::span<const std::int32_t> tokens, model::State& state) {
  return logits_of(griffin_.decode_step(parameters_, tokens, state, workspace_));
}

}  // namespace eyrie::generation
