// The official releases of RecurrentGemma as one file: a flat HDF5 or safetensors file with the
// names of the flax parameters ("blocks.0/mlp_block/ffw_up/w", with or without "params/" before
// it) or of the torch state dict.
#pragma once

#include <memory>
#include <optional>

#include "base/file.h"
#include "model/weights/named_tensors.h"
#include "model/weights/weight_source.h"

namespace eyrie::model {

// Sizes come from the tensor shapes; window, soft cap, embedding scale, and whether attention is
// local or global come from `preset`. Without it the constructor throws InputError naming the
// presets whose sizes fit. If all other sizes are the preset's, an embedding table longer than its
// vocabulary is cut (the releases pad it).
class OfficialWeights final : public WeightSource {
 public:
  OfficialWeights(const base::Path& path, const std::optional<GriffinConfig>& preset);
  const GriffinConfig& config() const override { return config_; }
  StoredType type() const override { return type_; }
  std::string description() const override { return description_; }
  void read(const parallel::ParameterInfo& info, std::int64_t first, std::int64_t count,
            float* out) const override {
    rows_->read(info, first, count, out);
  }

 private:
  GriffinConfig config_;
  StoredType type_ = StoredType::kFloat32;
  std::string description_;
  std::unique_ptr<const NamedRows> rows_;
};

}  // namespace eyrie::model
