// Scoring of (context, continuation) requests.
#include "model/scorer.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "tensor/ops/cross_entropy.h"
#include "tensor/transfer.h"

namespace eyrie::model {

using tensor::DType;
using tensor::Tensor;

namespace {

// Sharing a prefix costs an extra pass and a state: it pays off from about this many tokens saved.
constexpr std::int64_t kWorthSharing = 256;
constexpr std::int64_t kPrefillTokens = 4096;

}  // namespace

// The tokens read for one or more requests: context and continuation without the last token.
struct Scorer::Sequence {
  std::vector<std::int32_t> tokens;
  std::int64_t first = 0;  // first position whose logits any of its requests needs
  std::vector<std::size_t> requests;
  std::int64_t length() const { return static_cast<std::int64_t>(tokens.size()); }
};

namespace {

template <class Sequence>
std::int64_t common_prefix(const Sequence& a, const Sequence& b) {
  const auto end =
      std::mismatch(a.tokens.begin(), a.tokens.end(), b.tokens.begin(), b.tokens.end()).first;
  return end - a.tokens.begin();
}

}  // namespace

Scorer::Scorer(const Griffin& griffin, const Parameters& parameters, std::int64_t batch_tokens)
    : griffin_(griffin),
      parameters_(parameters),
      batch_tokens_(std::max<std::int64_t>(batch_tokens, 1)) {}
Scorer::~Scorer() = default;

std::int32_t Scorer::vocabulary() const {
  return static_cast<std::int32_t>(griffin_.config().vocabulary);
}

// Neighbours in the sorted list join a group as long as the tokens saved by it do not shrink.
std::vector<Scorer::Group> Scorer::share_prefixes(std::vector<Sequence*>& sorted) const {
  std::vector<Group> groups;
  for (std::size_t begin = 0; begin < sorted.size();) {
    std::int64_t shared = std::min(sorted[begin]->first, sorted[begin]->length());
    std::size_t end = begin + 1;
    while (end < sorted.size()) {
      const std::int64_t next =
          std::min({shared, common_prefix(*sorted[end - 1], *sorted[end]), sorted[end]->first});
      const auto members = static_cast<std::int64_t>(end - begin);
      if (next * members < shared * (members - 1) || next < 1) break;
      shared = next;
      ++end;
    }
    groups.push_back(Group(sorted).subspan(begin, end - begin));
    begin = end;
  }
  return groups;
}

// Throws InputError if a request cannot be scored.
Scorer::Sequences Scorer::sequences_of(std::span<const ScoreRequest> requests) const {
  Sequences sequences;
  for (std::size_t r = 0; r < requests.size(); ++r) {
    const ScoreRequest& request = requests[r];
    if (request.context.empty() || request.continuation.empty()) {
      throw base::InputError(
          fmt::format("score request {}: context and continuation must each have a token", r));
    }
    for (const auto* part : {&request.context, &request.continuation}) {
      for (const std::int32_t token : *part) {
        if (token < 0 || token >= vocabulary()) {
          throw base::InputError(fmt::format(
              "score request {}: token {} is outside of the model's vocabulary of {}; is it the "
              "model's own tokenizer?",
              r, token, vocabulary()));
        }
      }
    }
    std::vector<std::int32_t> tokens = request.context;
    tokens.insert(tokens.end(), request.continuation.begin(), request.continuation.end() - 1);
    Sequence& sequence = sequences[tokens];
    const auto first = static_cast<std::int64_t>(request.context.size()) - 1;
    sequence.first = sequence.requests.empty() ? first : std::min(sequence.first, first);
    sequence.requests.push_back(r);
  }
  return sequences;
}

std::vector<Score> Scorer::score(std::span<const ScoreRequest> requests,
                                 const ScoreProgress& progress) {
  std::vector<Score> scores(requests.size());
  bool in_pass = false;
  try {
    Sequences sequences = sequences_of(requests);
    in_pass = true;
    run(sequences, requests, scores,
        [&](std::span<const std::size_t> answered, std::span<const Score> theirs) {
          in_pass = false;
          const bool more = !progress || progress(answered, theirs);
          in_pass = true;
          return more;
        });
  } catch (...) {
    // A failure between passes is this rank's alone: the others' passes may need its shards.
    if (!in_pass) parameters_.finish_passes();
    throw;
  }
  parameters_.finish_passes();
  return scores;
}

void Scorer::run(Sequences& sequences, std::span<const ScoreRequest> requests,
                 std::vector<Score>& scores, const ScoreProgress& progress) {
  std::vector<Sequence*> sorted;
  for (auto& [tokens, sequence] : sequences) {
    sequence.tokens = tokens;
    sorted.push_back(&sequence);
  }

  std::vector<Sequence*> alone;
  for (const Group group : share_prefixes(sorted)) {
    std::int64_t prefix = group.front()->first;
    for (std::size_t i = 1; i < group.size(); ++i) {
      prefix = std::min({prefix, group[i]->first, common_prefix(*group[0], *group[i])});
    }
    if (prefix * static_cast<std::int64_t>(group.size() - 1) >= kWorthSharing) {
      if (!run_group(group, prefix, requests, scores, progress)) return;
    } else {
      alone.insert(alone.end(), group.begin(), group.end());
    }
  }
  if (!alone.empty()) run_group(alone, 0, requests, scores, progress);
}

bool Scorer::run_group(Group group, std::int64_t prefix, std::span<const ScoreRequest> requests,
                       std::vector<Score>& scores, const ScoreProgress& progress) {
  State state(griffin_.state_config(), parameters_.compute_dtype(), 1, parameters_.device());
  const std::span<const std::int32_t> tokens = group.front()->tokens;
  for (std::int64_t begin = 0; begin < prefix; begin += kPrefillTokens) {
    const std::int64_t count = std::min(kPrefillTokens, prefix - begin);
    griffin_.prefill(
        parameters_,
        tokens.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(count)), count,
        state, workspace_);
  }
  std::vector<Sequence*> by_length(group.begin(), group.end());
  std::stable_sort(by_length.begin(), by_length.end(),
                   [](const Sequence* a, const Sequence* b) { return a->length() > b->length(); });
  for (std::size_t begin = 0; begin < by_length.size();) {
    const std::int64_t longest = by_length[begin]->length() - prefix;  // the first is the longest
    const auto room = static_cast<std::size_t>(
        std::max<std::int64_t>(1, batch_tokens_ / std::max<std::int64_t>(1, longest)));
    const std::size_t count = std::min(room, by_length.size() - begin);
    const Group batch = Group(by_length).subspan(begin, count);
    run_batch(batch, prefix, state, requests, scores);
    std::vector<std::size_t> answered;
    std::vector<Score> theirs;
    for (const Sequence* sequence : batch) {
      for (const std::size_t r : sequence->requests) {
        answered.push_back(r);
        theirs.push_back(scores[r]);
      }
    }
    if (!progress(answered, theirs)) return false;
    begin += count;
  }
  return true;
}

void Scorer::run_batch(Group batch, std::int64_t prefix, const State& state,
                       std::span<const ScoreRequest> requests, std::vector<Score>& scores) {
  const auto count = static_cast<std::int64_t>(batch.size());
  const std::int64_t length = batch.front()->length() - prefix, width = griffin_.config().width;
  std::vector<std::int32_t> tokens(static_cast<std::size_t>(count * length),
                                   0);  // padded at the end: nothing looks ahead
  std::vector<std::int64_t> rows;       // of `hidden`: positions whose logits are needed
  for (std::int64_t s = 0; s < count; ++s) {
    const Sequence& sequence = *batch[static_cast<std::size_t>(s)];
    std::copy(sequence.tokens.begin() + prefix, sequence.tokens.end(), tokens.begin() + s * length);
    for (std::int64_t t = sequence.first; t < sequence.length(); ++t)
      rows.push_back(s * length + t - prefix);
  }
  State forked = state.fork(0, count);
  const Tensor hidden = griffin_.prefill(parameters_, tokens, length, forked, workspace_);

  tensor::Arena& scratch = workspace_.scratch;
  tensor::ArenaScope scope(scratch);
  const auto wanted = static_cast<std::int64_t>(rows.size());
  const std::int64_t vocabulary = griffin_.config().vocabulary;
  const std::int64_t at_once =
      std::clamp<std::int64_t>((std::int64_t{4} << 20) / vocabulary, 1, 512);
  const Tensor chosen = scratch.allocate(hidden.dtype(), at_once, width);
  const Tensor logits = scratch.allocate(DType::kFloat32, at_once, vocabulary);
  const Tensor log_sum = scratch.allocate(DType::kFloat32, 1, at_once);
  const Tensor argmax = scratch.allocate(DType::kInt32, 1, at_once);
  for (Sequence* sequence : batch) {
    for (const std::size_t r : sequence->requests) scores[r] = {0.0, true};
  }
  std::size_t sequence_at = 0;
  std::int64_t place = batch[0]->first;  // walks these positions again, in the same order
  for (std::int64_t begin = 0; begin < wanted; begin += at_once) {
    const std::int64_t here = std::min(at_once, wanted - begin);
    tensor::gather_rows(
        hidden,
        std::span(rows).subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(here)),
        chosen.row_range(0, here));
    const Tensor out = logits.row_range(0, here);
    griffin_.lm_head().logits(parameters_, chosen.row_range(0, here), out, false);
    tensor::score_logits(out, static_cast<float>(griffin_.config().soft_cap), log_sum, argmax);
    const auto sums = tensor::to_host<float>(log_sum.column_range(0, here));
    const auto best = tensor::to_host<std::int32_t>(argmax.column_range(0, here));
    std::vector<tensor::Element> targets;
    std::vector<std::size_t> asked;  // which request asks for the target
    for (std::int64_t i = 0; i < here; ++i) {
      while (place == batch[sequence_at]->length()) place = batch[++sequence_at]->first;
      for (const std::size_t r : batch[sequence_at]->requests) {
        const std::int64_t k = place + 1 - static_cast<std::int64_t>(requests[r].context.size());
        if (k < 0) continue;
        targets.push_back({i, requests[r].continuation[static_cast<std::size_t>(k)]});
        asked.push_back(r);
      }
      ++place;
    }
    const std::vector<float> target_logits = tensor::to_host(out, targets);
    for (std::size_t i = 0; i < targets.size(); ++i) {
      const auto row = static_cast<std::size_t>(targets[i].row);
      Score& score = scores[asked[i]];
      score.log_likelihood +=
          static_cast<double>(target_logits[i]) - static_cast<double>(sums[row]);
      score.is_greedy = score.is_greedy && best[row] == targets[i].column;
    }
  }
}

}  // namespace eyrie::model
