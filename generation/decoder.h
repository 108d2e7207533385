// Tokens in, logits out.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/griffin.h"

namespace eyrie::generation {

// Memory is reused from call to call. Not thread-safe.
class Decoder {
 public:
  // Both must outlive the decoder. Only the first `vocabulary` tokens are ever chosen: a model's
  // embedding table may be larger than its tokenizer's vocabulary.
  Decoder(const model::Griffin& griffin, const model::Parameters& parameters,
          std::int64_t vocabulary);

  // Reads a prompt into a state of one sequence, in chunks, so that no prompt is too long for
  // memory. Returns the logits after the last token; valid until the next call.
  std::span<float> read(std::span<const std::int32_t> tokens, model::State& state);
  // The same for several short prompts at once, into an empty state. Returns one row of logits per
  // prompt.
  std::span<float> read_all(std::span<const std::span<const std::int32_t>> prompts,
                            model::State& state);
  // Reads the next token of every sequence. Returns one row of logits per sequence.
  std::span<float> step(std::span<const std::int32_t> tokens, model::State& state);
  std::span<float> row(std::span<float> logits, std::int64_t row) const {
    return logits.subspan(static_cast<std::size_t>(row * all_),
                          static_cast<std::size_t>(vocabulary_));
  }

  const model::Griffin& griffin() const { return griffin_; }
  model::State empty_state(std::int64_t sequences) const {
    return {griffin_.state_config(), parameters_.compute_dtype(), sequences};
  }
  std::int64_t vocabulary() const { return vocabulary_; }

 private:
  std::span<float> logits_of(const tensor::Tensor& hidden);
  const model::Griffin& griffin_;
  const model::Parameters& parameters_;
  std::int64_t vocabulary_, all_;  // tokens that may be chosen; all tokens of the model
  model::Workspace workspace_;
  std::vector<float> logits_;
};

}  // namespace eyrie::generation
