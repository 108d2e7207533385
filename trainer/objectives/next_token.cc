// The next-token objective.
#include "trainer/objectives/next_token.h"

namespace eyrie::trainer {

model::TargetBatch view_of(const data_pipeline::NextTokenBatch& batch) {
  using tensor::host_row;
  return {{batch.rows, batch.length, host_row(batch.tokens), host_row(batch.positions)},
          host_row(batch.targets),
          host_row(batch.loss_mask)};
}

std::vector<double> NextToken::run(const model::Griffin& griffin,
                                   const model::Parameters& parameters,
                                   const data_pipeline::Batch& batch, model::Workspace& workspace,
                                   float gradient_scale, model::GradientSink& sink) const {
  const auto& rows = std::get<data_pipeline::NextTokenBatch>(batch);
  return {model::token_loss(griffin, parameters, view_of(rows), workspace, gradient_scale, sink)};
}

}  // namespace eyrie::trainer
