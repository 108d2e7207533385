// What evaluation and generation know of a model: tokens in, log-likelihoods or next tokens out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace eyrie::model {

// One log-likelihood to compute: log p(continuation | context). Both non-empty; the context begins
// with BOS as a rule.
struct ScoreRequest {
  std::vector<std::int32_t> context;
  std::vector<std::int32_t> continuation;
};

struct Score {
  double log_likelihood = 0;  // nats, summed over the continuation
  bool is_greedy = false;     // every continuation token is the argmax
};

// Called after each batch with the requests that it answered, by their numbers, and their scores.
// False: no further batch is begun. What it throws ends the scoring between two batches.
using ScoreProgress =
    std::function<bool(std::span<const std::size_t> requests, std::span<const Score> scores)>;

class LanguageModel {
 public:
  virtual ~LanguageModel() = default;
  virtual std::int32_t vocabulary() const = 0;

  // In the order of the requests. The result of a request does not depend on the others: batching,
  // sorting and the sharing of common prefixes are the implementation's affair. `progress` may be
  // empty; where it ended the scoring, the scores of requests that it was not told of mean nothing.
  virtual std::vector<Score> score(std::span<const ScoreRequest> requests,
                                   const ScoreProgress& progress) = 0;
};

}  // namespace eyrie::model
