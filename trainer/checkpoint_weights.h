// A checkpoint as a source of weights: its parameters, not its moments.
#pragma once

#include <set>
#include <string>

#include "model/weights/weight_source.h"
#include "trainer/checkpoint.h"

namespace eyrie::trainer {

// InputError for a checkpoint that is damaged or not of a training run. The checksums of a
// parameter are compared when it is read first.
class CheckpointWeights final : public model::WeightSource {
 public:
  explicit CheckpointWeights(const base::Path& checkpoint);
  const model::GriffinConfig& config() const override { return config_; }
  // The run's precision: what its products read.
  model::StoredType type() const override { return type_; }
  std::string description() const override { return reader_.directory().string(); }
  void read(const parallel::ParameterRow& row, std::int64_t first, std::int64_t count,
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
  mutable std::set<std::string> verified_;
};

}  // namespace eyrie::trainer
