// What transformers' RecurrentGemma cannot express of a Griffin model, and how such a model can be
// rewritten so that it computes the same there.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "model/weights/weight_source.h"

namespace eyrie::model {

struct Obstacle {
  std::string why;       // "soft_cap is 0: transformers divides by it"
  std::string adapting;  // what adapt() does about it; empty: nothing can be done
};

// Empty if the configuration can be written as it is.
std::vector<Obstacle> obstacles(const GriffinConfig& config);

// Returns the rewritten model on top of `source`, which must outlive it. Throws InputError if an
// obstacle cannot be removed.
//   soft cap 0           2^20: x and 2^20 tanh(x / 2^20) are the same fp32 for |x| < 300
//   no embedding scale   the table divided by the scale, 1 + w of the final norm multiplied by it
//   global attention     local attention with a window that no sequence fills
//   gates in more blocks than heads   each block as a part of a larger one, zeros around it
//   gates, no attention  as many heads as gate blocks
std::unique_ptr<WeightSource> adapt(const WeightSource& source);

}  // namespace eyrie::model
