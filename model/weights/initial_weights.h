// An untrained model as a source of weights: random numbers computed when they are read.
#pragma once

#include "model/weights/weight_source.h"

namespace eyrie::model {

// Gives the values of Parameters::initialise(seed).
class InitialWeights final : public WeightSource {
 public:
  InitialWeights(const GriffinConfig& config, std::uint64_t seed);
  const GriffinConfig& config() const override { return config_; }
  StoredType type() const override { return StoredType::kFloat32; }
  std::string description() const override;
  void read(const parallel::ParameterInfo& info, std::int64_t first, std::int64_t count,
            float* out) const override;

 private:
  GriffinConfig config_;
  std::uint64_t seed_;
};

}  // namespace eyrie::model
