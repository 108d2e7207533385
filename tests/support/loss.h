// The loss alone, as tests compare it.
#pragma once

#include <numeric>

#include "model/token_loss.h"

namespace eyrie::test {

// Returns Σ −log p over the targets of this rank's piece, added in order.
inline double loss_of(const model::Griffin& griffin, const model::Parameters& parameters,
                      const model::TargetBatch& batch, model::Workspace& workspace) {
  const std::vector<float> nll = model::token_nll(griffin, parameters, batch, workspace);
  return std::accumulate(nll.begin(), nll.end(), 0.0,
                         [](double sum, float x) { return sum + static_cast<double>(x); });
}

}  // namespace eyrie::test
