// What evaluation sees of a model: tokens in, log-likelihoods out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace eyrie::model {

// One log-likelihood to compute: log p(continuation | context). Both are non-empty; the context
// usually begins with BOS.
struct ScoreRequest {
  std::vector<std::int32_t> context;
  std::vector<std::int32_t> continuation;
};

struct Score {
  double log_likelihood = 0;  // nats, summed over the continuation
  bool is_greedy = false;     // every continuation token is the argmax
};

// Called after each batch with the indices of the requests it answered and their scores. Returning
// false stops before the next batch; an exception ends the scoring between two batches.
using ScoreProgress =
    std::function<bool(std::span<const std::size_t> requests, std::span<const Score> scores)>;

class LanguageModel {
 public:
  virtual ~LanguageModel() = default;
  virtual std::int32_t vocabulary() const = 0;

  // Returns scores in the order of the requests. A score does not depend on the other requests:
  // batching, sorting and sharing of common prefixes are up to the implementation. `progress` may
  // be empty; if it stops the scoring, scores that it was not given are meaningless.
  virtual std::vector<Score> score(std::span<const ScoreRequest> requests,
                                   const ScoreProgress& progress) = 0;
};

}  // namespace eyrie::model
