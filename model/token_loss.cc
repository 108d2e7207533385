// Losses of target tokens.
#include "model/token_loss.h"

#include "tensor/ops/sums.h"
#include "tensor/transfer.h"

namespace eyrie::model {
namespace {

bool is_empty(const TargetBatch& batch) {
  return batch.tokens.sequences * batch.tokens.length == 0;
}

}  // namespace

std::vector<float> token_nll(const Griffin& griffin, const Parameters& parameters,
                             const TargetBatch& batch, Workspace& workspace) {
  if (is_empty(batch)) return {};
  ForwardPass forward = griffin.forward(parameters, batch.tokens, workspace, false);
  return tensor::to_host<float>(griffin.lm_head().nll(forward, {batch.targets, batch.loss_mask}));
}

double token_loss(const Griffin& griffin, const Parameters& parameters, const TargetBatch& batch,
                  Workspace& workspace, float gradient_scale, GradientSink& sink) {
  if (is_empty(batch)) return 0;
  ForwardPass forward = griffin.forward(parameters, batch.tokens, workspace, true);
  const tensor::Tensor dtable = griffin.table_in(sink.gradient(0)),
                       dhidden = griffin.hidden_gradient(forward);
  double loss = 0;
  {
    const tensor::ArenaScope scope(workspace.scratch);
    loss = tensor::sum(griffin.lm_head().nll(forward, {batch.targets, batch.loss_mask},
                                             gradient_scale, dtable, dhidden));
  }
  griffin.backward(forward, dhidden, sink);
  return loss;
}

}  // namespace eyrie::model
