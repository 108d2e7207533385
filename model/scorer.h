// Griffin as a LanguageModel: batches requests by length, runs a prefix that many requests share
// once and forks its state, and scores continuations that differ only in their last token in one
// pass.
#pragma once

#include <map>
#include <memory>

#include "model/griffin.h"
#include "model/language_model.h"

namespace eyrie::model {

class Scorer : public LanguageModel {
 public:
  // Both must outlive the scorer. `batch_tokens` bounds the tokens of one pass (a longer request
  // runs alone).
  Scorer(const Griffin& griffin, const Parameters& parameters, std::int64_t batch_tokens = 4096);
  ~Scorer() override;

  std::int32_t vocabulary() const override;
  std::vector<Score> score(std::span<const ScoreRequest> requests,
                           const ScoreProgress& progress) override;

 private:
  struct Sequence;
  using Group = std::span<Sequence*>;
  using Sequences = std::map<std::vector<std::int32_t>, Sequence>;  // sorted by tokens
  Sequences sequences_of(std::span<const ScoreRequest> requests) const;
  void run(Sequences& sequences, std::span<const ScoreRequest> requests, std::vector<Score>& scores,
           const ScoreProgress& progress);
  std::vector<Group> share_prefixes(std::vector<Sequence*>& sorted) const;
  // Returns false if `progress` asked to stop.
  bool run_group(Group group, std::int64_t prefix, std::span<const ScoreRequest> requests,
                 std::vector<Score>& scores, const ScoreProgress& progress);
  void run_batch(Group batch, std::int64_t prefix, const State& state,
                 std::span<const ScoreRequest> requests, std::vector<Score>& scores);

  const Griffin& griffin_;
  const Parameters& parameters_;
  std::int64_t batch_tokens_;
  Workspace workspace_;
};

}  // namespace eyrie::model
