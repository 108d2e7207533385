// The loss of given target tokens: forward pass, head and backward pass in one call.
#pragma once

#include <vector>

#include "model/griffin.h"

namespace eyrie::model {

// A batch and what is to be predicted in it. The rows are (1, sequences · length).
struct TargetBatch {
  TokenBatch tokens;
  tensor::Tensor targets;    // int32: the token to predict at each position; ignored where masked
  tensor::Tensor loss_mask;  // fp32, 0 or 1
};

// Returns −log p (nats) of this rank's piece of the batch, (1, its tokens); 0 where masked.
std::vector<float> token_nll(const Griffin& griffin, const Parameters& parameters,
                             const TargetBatch& batch, Workspace& workspace);

// Returns Σ −log p over the targets, in nats, and writes the gradient of gradient_scale · that sum
// to the sink. With context ranks, both are partial sums over this rank's piece.
double token_loss(const Griffin& griffin, const Parameters& parameters, const TargetBatch& batch,
                  Workspace& workspace, float gradient_scale, GradientSink& sink);

}  // namespace eyrie::model
