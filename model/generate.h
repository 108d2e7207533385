// Generation: prompts of any length and number, continued token by token from states of constant
// size. Many sequences run side by side; a finished one's place is taken by the next prompt at once
// (continuous batching). What a sequence becomes depends on its request alone, not on its company.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "model/griffin.h"
#include "model/sampling.h"

namespace eyrie::model {

struct GenerationRequest {
  std::vector<std::int32_t> tokens;  // read first; at least one
  std::int64_t samples = 1;          // continuations of it, from one reading
  std::int64_t most = 128;           // new tokens of each
  std::uint64_t number = 0;          // with the seed and the sample's: the key of its draws
  const State* from = nullptr;       // of one sequence: read on from it
};

// How far generation has come, and what it cost.
struct GenerationCounters {
  std::int64_t prompt_tokens = 0, new_tokens = 0;
  double prompt_seconds = 0, new_seconds = 0;
  double first_token_seconds = 0;  // from the start of run() to the first new token
};

// Tokens in, logits out. Memory is reused from call to call.
class Decoder {
 public:
  // Both must outlive it. Only the first `vocabulary` tokens are ever chosen: a model's table may
  // be larger than its tokenizer.
  Decoder(const Griffin& griffin, const Parameters& parameters, std::int64_t vocabulary);

  // Reads into a state of one sequence, in pieces, so that no prompt is too long for memory.
  // Returns the logits after the last token; valid until the next call.
  std::span<float> read(std::span<const std::int32_t> tokens, State& state);
  // The same for several short ones at once, each from its start: row by row.
  std::span<float> read_all(std::span<const std::span<const std::int32_t>> prompts, State& state);
  // The next token of every sequence.
  std::span<float> step(std::span<const std::int32_t> tokens, State& state);
  std::span<float> row(std::span<float> logits, std::int64_t row) const {
    return logits.subspan(static_cast<std::size_t>(row * all_),
                          static_cast<std::size_t>(vocabulary_));
  }

  const Griffin& griffin() const { return griffin_; }
  State empty_state(std::int64_t sequences) const {
    return {griffin_.state_config(), parameters_.compute(), sequences};
  }
  std::int64_t vocabulary() const { return vocabulary_; }

 private:
  std::span<float> logits_of(const tensor::Tensor& hidden);
  const Griffin& griffin_;
  const Parameters& parameters_;
  std::int64_t vocabulary_, all_;  // that may be chosen; of the model
  Workspace workspace_;
  std::vector<float> logits_;
};

class Generator {
 public:
  // `slots`: sequences at once, at least 1.
  Generator(Decoder& decoder, const SamplingOptions& sampling, std::int64_t slots);
  ~Generator();

  using Next = std::function<std::optional<GenerationRequest>()>;  // nothing: there are no more
  // A new token of a request's sample; false ends the sample.
  using Take = std::function<bool(std::uint64_t number, std::int64_t sample, std::int32_t token)>;
  // A sample is over: `whole` when it has as many tokens as it may. Its state, with the last token
  // still unread, is that of `sequence`.
  using Done = std::function<void(std::uint64_t number, std::int64_t sample, bool whole,
                                  const State& state, std::int64_t sequence)>;
  void run(const Next& next, const Take& take, const Done& done);

  const GenerationCounters& counters() const { return counters_; }

 private:
  struct Sequence;
  struct Waiting;
  bool fetch(const Next& next, std::deque<Waiting>& waiting);
  void begin_sample(std::deque<Waiting>& waiting, const Take& take, const Done& done);
  bool choose(Sequence& sequence, std::span<float> logits, const Take& take);

  Decoder& decoder_;
  SamplingOptions sampling_;
  std::int64_t slots_;
  State state_;
  std::vector<Sequence> sequences_;  // as in the state
  GenerationCounters counters_;
  double started_ = 0;
};

}  // namespace eyrie::model
