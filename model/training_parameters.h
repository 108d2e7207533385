// The weights of a model in training, as its passes read them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/parameters.h"
#include "parallel/sharding/sharded_weights.h"

namespace eyrie::model {

class TrainingParameters final : public Parameters, public parallel::ShardedWeights {
 public:
  // One rank: all master weights, and in bf16 the copies that matrix products read.
  TrainingParameters(std::vector<parallel::Unit> units, tensor::DType compute);
  // Sharded over ranks; see ShardedWeights.
  TrainingParameters(std::vector<parallel::Unit> units, tensor::DType compute,
                     const std::vector<parallel::UnitShard>& shards, bool sharded,
                     tensor::Device device = tensor::Device::kCpu);

  using Parameters::compute_dtype;
  using Parameters::units;
  tensor::Device device() const override { return ShardedWeights::device(); }

  tensor::Tensor weight(std::size_t unit, int parameter) const override;
  Weight matrix(std::size_t unit, int parameter, std::int64_t part = 0) const override;
  // Into the master weights, of which this rank must have all.
  void store(std::size_t unit, int parameter, std::int64_t first,
             std::span<const float> values) override;
  tensor::DType stored_dtype(std::size_t, int) const override { return tensor::DType::kFloat32; }
  void finish_loading() override { refresh_all(); }

  void unshard(std::size_t unit, std::size_t next) const override {
    if (gather_ != nullptr) gather_->unshard(unit, next);
  }
  void reshard(std::size_t unit) const override {
    if (gather_ != nullptr) gather_->reshard(unit);
  }
  void begin_pass() const override {
    if (gather_ != nullptr) gather_->begin_pass();
  }
  void finish_passes() const override {
    if (gather_ != nullptr) gather_->finish_passes();
  }

  // Fills this rank's master weights. A value depends on (seed, parameter name, global element
  // index) alone.
  void initialise(std::uint64_t seed);
};

}  // namespace eyrie::model
