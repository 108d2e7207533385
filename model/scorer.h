// Griffin as a LanguageModel: batches requests by length, runs a prefix that many requests share
// once and forks its state, and scores continuations that differ in their last token from one pass.
#pragma once

#include <memory>

#include "model/griffin.h"
#include "model/language_model.h"

namespace eyrie::model {

class Scorer : public LanguageModel {
 public:
  // Both must outlive the scorer. `batch_tokens` bounds the tokens of one pass (a longer request
  // goes alone).
  Scorer(const Griffin& griffin, const Parameters& parameters, std::int64_t batch_tokens = 4096);
  ~Scorer() override;

  std::int32_t vocabulary() const override;
  std::vector<Score> score(std::span<const ScoreRequest> requests,
                           const std::function<void(std::int64_t)>& progress) override;

 private:
  struct Sequence;
  using Group = std::span<Sequence*>;
  std::vector<Group> share_prefixes(std::vector<Sequence*>& sorted) const;
  void run_group(Group group, std::int64_t prefix, std::span<const ScoreRequest> requests,
                 std::vector<Score>& scores, const std::function<void(std::int64_t)>& done);
  void run_batch(Group batch, std::int64_t prefix, const State& state,
                 std::span<const ScoreRequest> requests, std::vector<Score>& scores);

  const Griffin& griffin_;
  const Parameters& parameters_;
  std::int64_t batch_tokens_;
  Workspace workspace_;
};

}  // namespace eyrie::model
