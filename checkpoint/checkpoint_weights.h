// A checkpoint as a source of weights: its parameters, not the optimizer's moments.
#pragma once

#include <set>
#include <string>

#include "checkpoint/reader.h"
#include "model/weights/weight_source.h"

namespace eyrie::checkpoint {

// Throws InputError if the checkpoint is damaged or not from a training run. The checksums of a
// parameter are verified when it is first read.
class CheckpointWeights final : public model::WeightSource {
 public:
  explicit CheckpointWeights(const base::Path& checkpoint);
  const model::GriffinConfig& config() const override { return config_; }
  // The run's precision: the compute dtype of its matrix products.
  model::StoredType type() const override { return type_; }
  std::string description() const override { return reader_.directory().string(); }
  void read(const parallel::ParameterInfo& info, std::int64_t first, std::int64_t count,
            float* out) const override;

  std::int64_t step() const { return reader_.step(); }
  const std::string& run() const { return run_; }  // its configuration as YAML
  // As the run named it: a file, or "bytes".
  const std::string& tokenizer() const { return tokenizer_; }
  const std::string& tokenizer_hash() const { return tokenizer_hash_; }

 private:
  CheckpointReader reader_;
  model::GriffinConfig config_;
  model::StoredType type_;
  std::string tokenizer_, tokenizer_hash_, run_;
};

}  // namespace eyrie::checkpoint
