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
  std::vector<std::int32_t> tokens;
  std::vector<std::int64_t> lengths;
  for (const auto& prompt : prompts) {
    tokens.insert(tokens.end(), prompt.begin(), prompt.end());
    lengths.push_back(std::ssize(prompt));
  }
  const Tensor hidden =
      griffin_.prefill(parameters_, tokens, 0, state, workspace_, {.lengths = lengths});
  const Tensor last = workspace_.scratch.allocate(
      hidden.dtype(), static_cast<std::int64_t>(prompts.size()), hidden.columns());
  std::int64_t end = 0;
  for (std::size_t s = 0; s < prompts.size(); ++s) {
    end += lengths[s];
    tensor::copy(hidden.row_range(end - 1, 1), last.row_range(static_cast<std::int64_t>(s), 1));
  }
  return logits_of(last);
}

std::span<float> Decoder::step(std::span<const std::int32_t> tokens, model::State& state) {
  return logits_of(griffin_.decode_step(parameters_, tokens, state, workspace_));
}

}  // namespace eyrie::generation
