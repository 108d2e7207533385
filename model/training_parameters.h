// The weights of a model in training: fp32 master weights that this rank updates (all, or a shard
// per unit), and the copies that passes read.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/parameters.h"
#include "parallel/sharding/gradient_sum.h"
#include "tensor/arena.h"

namespace eyrie::model {

// Gathers the weights of sharded units for the time of their use (ZeRO 3); the calls are those of
// Parameters.
class ShardedUnits {
 public:
  virtual ~ShardedUnits() = default;
  virtual void unshard(std::size_t unit, std::size_t next) = 0;
  virtual void reshard(std::size_t unit) = 0;
  virtual void begin_pass() = 0;
  virtual void finish_passes() = 0;
};

// Owns its memory, except that of gathered units.
class TrainingParameters final : public Parameters {
 public:
  // One rank: all master weights, and in bf16 the copies that matrix products read.
  TrainingParameters(std::vector<parallel::Unit> units, tensor::DType compute);
  // One shard per unit: the master weights of the shards only. Matrix products
  // read compute-dtype copies of whole units, which all-gathers complete. With `sharded`, only the
  // embedding's copy is kept; ShardedUnits gathers the others. Parameters that no matrix product
  // reads (norms, biases: small) are kept whole.
  TrainingParameters(std::vector<parallel::Unit> units, tensor::DType compute,
                     const std::vector<parallel::UnitShard>& shards, bool sharded,
                     tensor::Device device = tensor::Device::kCpu);

  tensor::Device device() const override { return device_; }

  tensor::Tensor weight(std::size_t unit, int row) const override;
  Weight matrix(std::size_t unit, int row, std::int64_t part = 0) const override;
  // Into the master weights, of which this rank must have all.
  void store(std::size_t unit, int row, std::int64_t first, std::span<const float> values) override;
  tensor::DType stored_dtype(std::size_t, int) const override { return tensor::DType::kFloat32; }
  void finish_loading() override { refresh_all(); }

  void unshard(std::size_t unit, std::size_t next) const override {
    if (sharded_units_ != nullptr) sharded_units_->unshard(unit, next);
  }
  void reshard(std::size_t unit) const override {
    if (sharded_units_ != nullptr) sharded_units_->reshard(unit);
  }
  void begin_pass() const override {
    if (sharded_units_ != nullptr) sharded_units_->begin_pass();
  }
  void finish_passes() const override {
    if (sharded_units_ != nullptr) sharded_units_->finish_passes();
  }

  // The master weights of the whole unit (1, size) fp32, if this rank has them all.
  tensor::Tensor masters(std::size_t unit) const;
  // Those of elements [begin, end) of the unit, which must be in the shard.
  tensor::Tensor masters(std::size_t unit, std::int64_t begin, std::int64_t end) const;

  // Rounds this rank's master weights into its part of the unit's copy and of the parameters that
  // are kept whole. Call it after initialisation, loading and every optimizer step. Does nothing
  // in fp32 with unsharded units, where passes read the master weights themselves.
  void refresh(std::size_t unit);
  void refresh_all();
  // Rounds this rank's shard into `copy` (1, the unit's size) in the compute dtype.
  void round_shard(std::size_t unit, const tensor::Tensor& copy) const;

  // The whole unit in the compute dtype, into which the other ranks' parts are gathered. For a
  // sharded unit it is empty unless set_gathered() has given it memory; set_gathered(unit, {})
  // takes that away.
  tensor::Tensor copy(std::size_t unit) const;
  void set_gathered(std::size_t unit, const tensor::Tensor& copy) { gathered_[unit] = copy; }
  // Bytes owned here: master weights, compute-dtype copies of whole units, and fp32 parameters that
  // are kept whole.
  struct Bytes {
    std::int64_t masters = 0, copies = 0, rows = 0;
  };
  Bytes bytes() const;
  bool is_resident(std::size_t unit) const { return !sharded_ || unit == 0; }
  bool has_products(std::size_t unit) const;
  // A parameter that no matrix product reads: whole, in fp32. It lies in the master weights if
  // their buffer holds the whole unit.
  tensor::Tensor whole_row(std::size_t unit, int row) const;
  bool has_separate_vectors() const { return !whole_masters_; }  // whole_row() is not in copy()
  // Not owned; null: no unit is sharded.
  void set_sharded_units(ShardedUnits* sharded_units) { sharded_units_ = sharded_units; }

  // Fills this rank's master weights. A value depends on (seed, parameter name, global element
  // index) alone.
  void initialise(std::uint64_t seed);

 private:
  // By unit. masters_ holds elements [begins_, ends_), or with whole_masters_ the whole unit, of
  // which this rank still updates only its shard.
  std::vector<tensor::Buffer> masters_, copies_, rows_;
  std::vector<std::int64_t> begins_, ends_;
  std::vector<std::vector<std::int64_t>> row_offsets_;  // in rows_; −1: a matrix operand
  std::vector<tensor::Tensor> gathered_;
  tensor::Device device_;
  bool whole_masters_ = true, sharded_ = false;
  ShardedUnits* sharded_units_ = nullptr;
};

}  // namespace eyrie::model
