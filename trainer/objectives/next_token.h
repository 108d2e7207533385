// Predicting every token of a text from those before it: cross-entropy, in nats per target token.
#pragma once

#include "model/token_loss.h"
#include "trainer/objectives/objective.h"

namespace eyrie::trainer {

class NextToken : public Objective {
 public:
  std::vector<std::string> metrics() const override { return {"loss"}; }
  std::vector<double> run(const model::Griffin& griffin, const model::Parameters& parameters,
                          const data_pipeline::Batch& batch, model::Workspace& workspace,
                          float gradient_scale, model::GradientSink& sink) const override;
};

// `batch` keeps the memory.
model::TargetBatch view_of(const data_pipeline::NextTokenBatch& batch);

}  // namespace eyrie::trainer
