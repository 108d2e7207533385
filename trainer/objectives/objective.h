// What a stage optimises: a loss over the batches of one kind, and the numbers that it reports.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "data_pipeline/batch_stream.h"
#include "model/griffin.h"

namespace eyrie::trainer {

// Thread-compatible. An objective owns the loss: it runs the model forward (griffin.forward()),
// turns hidden states into a loss by a head, and runs the model back from their gradient.
class Objective {
 public:
  virtual ~Objective() = default;

  // The names of the numbers that run() returns; the first is the loss.
  virtual std::vector<std::string> metrics() const = 0;

  // Collective over the tensor and context ranks. Writes the gradient of gradient_scale · loss of
  // one micro-shard to the sink. Returns the sums over this rank's piece of it of all metrics; over
  // a step they are added up and divided by the stream's target_count().
  virtual std::vector<double> run(const model::Griffin& griffin,
                                  const model::Parameters& parameters,
                                  const data_pipeline::Batch& batch, model::Workspace& workspace,
                                  float gradient_scale, model::GradientSink& sink) const = 0;
};

// By the name that a stage's key `objective` gives: "next_token".
std::unique_ptr<Objective> make_objective(const std::string& name);
std::vector<std::string> objective_names();

}  // namespace eyrie::trainer
