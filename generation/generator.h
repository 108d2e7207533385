// Generation: continues any number of prompts of any length token by token, from states of constant
// size. Many sequences run side by side; the next prompt takes the slot of a finished sequence at
// once (continuous batching). The tokens of a sequence depend on its request alone, not on the rest
// of the batch.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "generation/decoder.h"
#include "generation/sampling.h"

namespace eyrie::generation {

struct GenerationRequest {
  std::vector<std::int32_t> tokens;    // the prompt; at least one token
  std::int64_t samples = 1;            // continuations of the prompt, which is read once
  std::int64_t max_new_tokens = 128;   // new tokens per sample
  std::uint64_t number = 0;            // keys the random draws, with seed and sample number
  const model::State* from = nullptr;  // a state of one sequence to continue from
};

// The progress of generation, and the time it took.
struct GenerationCounters {
  std::int64_t prompt_tokens = 0, new_tokens = 0;
  double prompt_seconds = 0, new_seconds = 0;
  double first_token_seconds = 0;  // from the start of run() to the first new token
};

class Generator {
 public:
  // `max_batch`: the most sequences that run at once, at least 1.
  Generator(Decoder& decoder, const SamplingOptions& sampling, std::int64_t max_batch);
  ~Generator();

  using Next = std::function<std::optional<GenerationRequest>()>;  // nullopt: no more
  // Called with each new token of a request's sample. Returning false ends the sample.
  using OnToken =
      std::function<bool(std::uint64_t number, std::int64_t sample, std::int32_t token)>;
  // Called when a sample ends; `whole` if it has max_new_tokens. `sequence` is its index in
  // `state`, into which its last token has not been read.
  using OnFinish = std::function<void(std::uint64_t number, std::int64_t sample, bool whole,
                                      const model::State& state, std::int64_t sequence)>;
  void run(const Next& next, const OnToken& on_token, const OnFinish& on_finish);

  const GenerationCounters& counters() const { return counters_; }

 private:
  struct Sequence;
  struct Waiting;
  bool fetch(const Next& next, std::deque<Waiting>& waiting);
  void begin_sample(std::deque<Waiting>& waiting, const OnToken& on_token,
                    const OnFinish& on_finish);
  bool choose(Sequence& sequence, std::span<float> logits, const OnToken& on_token);

  Decoder& decoder_;
  SamplingOptions sampling_;
  std::int64_t max_batch_;
  model::State state_;
  std::vector<Sequence> sequences_;  // in the order of state_
  GenerationCounters counters_;
  double started_ = 0;
};

}  // namespace eyrie::generation
