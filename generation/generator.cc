// Continuous batching.
#include "generation/generator.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <deque>

#include "base/error.h"
#include "model/weights/finite.h"

namespace eyrie::generation {
namespace {

// Prompts are read in one batch while they have no more tokens than this.
constexpr std::size_t kTokensTogether = 2048;

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

// A sample in progress.
struct Generator::Sequence {
  std::uint64_t number;
  std::int64_t sample, max_new_tokens;
  base::Philox draws;
  TokenSet seen;
  std::int64_t made = 0;
  std::int32_t last = 0;  // chosen, not read yet
  bool whole() const { return made >= max_new_tokens; }
};

// A request whose prompt was read and whose samples have not all begun.
struct Generator::Waiting {
  GenerationRequest request;
  model::State state;
  std::vector<float> logits;
  std::int64_t begun = 0;
};

Generator::Generator(Decoder& decoder, const SamplingOptions& sampling, std::int64_t max_batch)
    : decoder_(decoder),
      sampling_(sampling),
      max_batch_(std::max<std::int64_t>(max_batch, 1)),
      state_(decoder.empty_state(0)) {
  check(sampling_);
}
Generator::~Generator() = default;

void Generator::run(const Next& next, const OnToken& on_token, const OnFinish& on_finish) {
  started_ = now();
  std::deque<Waiting> waiting;
  bool more = true;
  while (true) {
    while (static_cast<std::int64_t>(sequences_.size()) < max_batch_ &&
           (more || !waiting.empty())) {
      if (waiting.empty()) more = fetch(next, waiting);
      if (!waiting.empty()) begin_sample(waiting, on_token, on_finish);
    }
    if (sequences_.empty()) break;
    const double start = now();
    std::vector<std::int32_t> tokens;
    for (const Sequence& sequence : sequences_) tokens.push_back(sequence.last);
    const std::span<float> logits = decoder_.step(tokens, state_);
    std::vector<std::int64_t> over;
    for (std::size_t i = 0; i < sequences_.size(); ++i) {
      const auto row = static_cast<std::int64_t>(i);
      if (!choose(sequences_[i], decoder_.row(logits, row), on_token)) over.push_back(row);
    }
    counters_.new_seconds += now() - start;
    // From the end, since remove() moves the last sequence into the free place.
    for (auto at = over.rbegin(); at != over.rend(); ++at) {
      Sequence& sequence = sequences_[static_cast<std::size_t>(*at)];
      on_finish(sequence.number, sequence.sample, sequence.whole(), state_, *at);
      state_.remove(*at);
      sequence = std::move(sequences_.back());
      sequences_.pop_back();
    }
  }
}

// Takes requests for the free slots and reads their prompts: short ones in one batch, a long one
// alone. Returns false when there are no more.
bool Generator::fetch(const Next& next, std::deque<Waiting>& waiting) {
  const auto room = static_cast<std::size_t>(max_batch_) - sequences_.size();
  std::vector<GenerationRequest> requests;
  std::size_t tokens = 0;
  bool more = true;
  while (requests.size() < room) {
    auto request = next();
    if (!request) {
      more = false;
      break;
    }
    EYRIE_CHECK(!request->tokens.empty(), "a request without a token to read");
    tokens += request->tokens.size();
    requests.push_back(std::move(*request));
    if (tokens >= kTokensTogether) break;
  }
  const double start = now();
  std::vector<std::span<const std::int32_t>> together;
  std::vector<std::size_t> members;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    counters_.prompt_tokens += static_cast<std::int64_t>(requests[i].tokens.size());
    // The last one may be so long that the batch would be too large with it.
    const bool too_many = tokens > kTokensTogether && i + 1 == requests.size();
    if (requests.size() == 1 || requests[i].from != nullptr || too_many) {
      model::State state =
          requests[i].from != nullptr ? requests[i].from->fork(0, 1) : decoder_.empty_state(1);
      const auto logits = decoder_.row(decoder_.read(requests[i].tokens, state), 0);
      waiting.push_back({std::move(requests[i]), std::move(state), {logits.begin(), logits.end()}});
    } else {
      together.push_back(requests[i].tokens);
      members.push_back(i);
    }
  }
  if (!together.empty()) {
    model::State state = decoder_.empty_state(static_cast<std::int64_t>(together.size()));
    const auto all = decoder_.read_all(together, state);
    for (std::size_t i = 0; i < members.size(); ++i) {
      const auto logits = decoder_.row(all, static_cast<std::int64_t>(i));
      waiting.push_back({std::move(requests[members[i]]),
                         state.fork(static_cast<std::int64_t>(i), 1),
                         {logits.begin(), logits.end()}});
    }
  }
  counters_.prompt_seconds += now() - start;
  return more;
}

// Begins the next sample of the first waiting request. Its first token comes from the prompt's
// logits.
void Generator::begin_sample(std::deque<Waiting>& waiting, const OnToken& on_token,
                             const OnFinish& on_finish) {
  Waiting& from = waiting.front();
  const GenerationRequest& request = from.request;
  Sequence sequence{
      request.number, from.begun, request.max_new_tokens,
      base::Philox(sampling_.seed, fmt::format("sampling {} {}", request.number, from.begun)),
      TokenSet(sampling_.repetition_penalty == 1 ? 0 : decoder_.vocabulary())};
  const bool wanted = from.begun < request.samples && request.max_new_tokens > 0;
  if (wanted) {
    if (sampling_.repetition_penalty != 1) {
      for (const std::int32_t token : request.tokens) sequence.seen.add(token);
    }
    std::vector<float> logits = from.logits;
    if (choose(sequence, logits, on_token)) {
      state_.append(from.state, 0);
      sequences_.push_back(std::move(sequence));
    } else {
      on_finish(sequence.number, sequence.sample, sequence.whole(), from.state, 0);
    }
  } else if (from.begun < request.samples) {
    on_finish(sequence.number, sequence.sample, true, from.state, 0);
  }
  if (++from.begun >= request.samples) waiting.pop_front();
}

// Chooses one more token; returns false when the sequence is over. Modifies the logits.
bool Generator::choose(Sequence& sequence, std::span<float> logits, const OnToken& on_token) {
  if (model::count_not_finite(logits.data(), static_cast<std::int64_t>(logits.size())) > 0) {
    throw base::Error(
        "the model's logits are not finite numbers; its weights are damaged or its training "
        "diverged");
  }
  sequence.seen.penalise(logits, sampling_.repetition_penalty);
  sequence.last =
      sample(logits, sampling_, sequence.draws, static_cast<std::uint64_t>(sequence.made));
  if (sampling_.repetition_penalty != 1) sequence.seen.add(sequence.last);
  ++sequence.made;
  if (counters_.new_tokens++ == 0) counters_.first_token_seconds = now() - started_;
  return on_token(sequence.number, sequence.sample, sequence.last) && !sequence.whole();
}

}  // namespace eyrie::generation
