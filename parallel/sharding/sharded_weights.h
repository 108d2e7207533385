// The weights of parameter units in training: fp32 master weights that this rank updates (all, or a
// shard per unit), and the copies in the compute dtype that matrix products read.
#pragma once

#include <cstdint>
#include <vector>

#include "parallel/sharding/gradient_sum.h"
#include "tensor/arena.h"

namespace eyrie::parallel {

constexpr std::size_t kNoUnit = static_cast<std::size_t>(-1);

// What passes call around every use of a unit's weights. All ranks of the shard group make the same
// calls in the same order.
class UnitGather {
 public:
  virtual ~UnitGather() = default;
  // `next`: the unit that is read next (kNoUnit: not known).
  virtual void unshard(std::size_t unit, std::size_t next) = 0;
  virtual void reshard(std::size_t unit) = 0;
  // For evaluation, where ranks run unequal numbers of passes: begin_pass() before each pass, and
  // finish_passes() when this rank has no more. It then joins the others' all-gathers until all
  // ranks are done.
  virtual void begin_pass() = 0;
  virtual void finish_passes() = 0;
};

// Owns its memory, except that of gathered units.
class ShardedWeights {
 public:
  // One shard per unit. In bf16: the master weights of the shards; matrix products read copies of
  // whole units, which all-gathers complete. With `sharded`, only the embedding's copy is kept, and
  // the others are gathered for their use (parameter_shards.h). Parameters that no matrix product
  // reads (norms, biases: small) are kept whole. In fp32, unless `sharded`, the master weights of
  // whole units are all there is. `units` must outlive the object.
  ShardedWeights(const std::vector<Unit>& units, tensor::DType compute,
                 const std::vector<UnitShard>& shards, bool sharded, tensor::Device device);
  ShardedWeights(const ShardedWeights&) = delete;
  ShardedWeights& operator=(const ShardedWeights&) = delete;

  const std::vector<Unit>& units() const { return units_; }
  tensor::DType compute_dtype() const { return compute_; }
  tensor::Device device() const { return device_; }

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
  bool is_resident(std::size_t unit) const { return !sharded_ || unit == 0; }
  bool has_products(std::size_t unit) const;
  // A parameter that no matrix product reads: whole, in fp32. It lies in the master weights if
  // their buffer holds the whole unit.
  tensor::Tensor whole_vector(std::size_t unit, int parameter) const;
  bool has_separate_vectors() const { return !whole_masters_; }  // not in copy()

  // Gathers units while they are used. Not owned; null: no unit is sharded.
  void set_gather(UnitGather* gather) { gather_ = gather; }

  // Bytes owned here: master weights, compute-dtype copies of whole units, and fp32 parameters that
  // are kept whole.
  struct Bytes {
    std::int64_t masters = 0, copies = 0, vectors = 0;
  };
  Bytes bytes() const;

 protected:
  // Calls visit(unit, ParameterSpan) for the parts of parameters whose masters this rank has.
  template <class Visit>
  void for_shards(const Visit& visit) const {
    for (std::size_t unit = 0; unit < units_.size(); ++unit) {
      for (const ParameterSpan& span : spans_in(units_[unit], begins_[unit], ends_[unit]))
        visit(unit, span);
    }
  }

 private:
  const std::vector<Unit>& units_;
  tensor::DType compute_;
  tensor::Device device_;
  bool whole_masters_, sharded_;
  // By unit. masters_ holds elements [begins_, ends_), or with whole_masters_ the whole unit, of
  // which this rank still updates only its shard.
  std::vector<tensor::Buffer> masters_, copies_, vectors_;
  std::vector<std::int64_t> begins_, ends_;
  std::vector<std::vector<std::int64_t>> vector_offsets_;  // in vectors_; −1: a matrix operand
  std::vector<tensor::Tensor> gathered_;

 protected:
  UnitGather* gather_ = nullptr;
};

}  // namespace eyrie::parallel
