// The weights of a model on one rank. For training: per unit the fp32 masters that this rank
// updates (all, or a shard), and what passes read. For inference: one copy in the compute dtype,
// owned or mapped.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "parallel/gradient_sum.h"
#include "parallel/unit.h"
#include "tensor/arena.h"
#include "tensor/tensor.h"

namespace eyrie::model {

// A matrix that products read: (in, out), or with `transposed` (out, in), as Hugging Face keeps it.
struct Weight {
  tensor::Tensor tensor;
  bool transposed = false;
};

// Where products' weights are not kept but fetched for the time of their use: passes call enter()
// before they read a unit, naming the one that they will read next (kNoUnit: not known), and
// leave() after it. Every rank that shares makes the same calls in the same order.
constexpr std::size_t kNoUnit = static_cast<std::size_t>(-1);
class UnitGate {
 public:
  virtual ~UnitGate() = default;
  virtual void enter(std::size_t unit, std::size_t next) = 0;
  virtual void leave(std::size_t unit) = 0;
  // Evaluation, where ranks make unequal numbers of passes: before each one, and when this rank has
  // no more. Then it helps the others until they are done as well.
  virtual void begin_pass() = 0;
  virtual void finish_passes() = 0;
};

// Owns its memory, but for what was mapped. Reading is thread-safe.
class Parameters {
 public:
  // For training on one rank: all masters, and in bf16 the copies that products read.
  Parameters(std::vector<parallel::Unit> units, tensor::DType compute);
  // For training in shards (by unit): the masters in them alone; products read copies of whole
  // units in the compute dtype, which others fill in. With `on_demand` only the embedding's is
  // kept; the others are lent by a gate. What is no product's operand (norms, biases: little) is
  // kept whole.
  Parameters(std::vector<parallel::Unit> units, tensor::DType compute,
             const std::vector<parallel::UnitShard>& shards, bool on_demand);

  // For inference: no masters; operands of products in the compute dtype alone. With `transposed`
  // linear layers lie (out, in), so that a single token's products read memory in order; without,
  // as in training, so that scores have training's bits on every processor. To be filled by store()
  // or map().
  static Parameters for_inference(std::vector<parallel::Unit> units, tensor::DType compute,
                                  bool transposed = true);

  const std::vector<parallel::Unit>& units() const { return units_; }
  tensor::DType compute() const { return compute_; }

  // As (rows, columns): all dimensions but the last, and the last. In compute dtype for products,
  // fp32 for the rest.
  tensor::Tensor weight(std::size_t unit, int row) const;
  // One matrix of a row's `parts`.
  Weight matrix(std::size_t unit, int row, std::int64_t part = 0) const;

  // Around every use of a unit's weights; without a gate they do nothing.
  void enter(std::size_t unit, std::size_t next) const {
    if (gate_ != nullptr) gate_->enter(unit, next);
  }
  void leave(std::size_t unit) const {
    if (gate_ != nullptr) gate_->leave(unit);
  }

  void begin_pass() const {
    if (gate_ != nullptr) gate_->begin_pass();
  }
  void finish_passes() const {
    if (gate_ != nullptr) gate_->finish_passes();
  }

  // ---- Training.
  bool has_masters() const { return stored_.empty(); }
  // The whole unit's masters; where this rank has them all.
  float* master(std::size_t unit);
  const float* master(std::size_t unit) const;
  // From this element of the unit's buffer on, which must be in the shard.
  float* master_at(std::size_t unit, std::int64_t element);
  const float* master_at(std::size_t unit, std::int64_t element) const;

  // Rounds this rank's masters into its own part of the unit's copy, and of what is kept whole:
  // after initialisation, loading and every optimizer step. Nothing to do in fp32, where masters
  // are what is computed with (unless units come on demand), nor for inference.
  void refresh(std::size_t unit);
  void refresh_all();
  // As refresh() does it, into memory for the whole unit in the compute dtype.
  void round_shard(std::size_t unit, std::byte* copy) const;

  // The whole unit in the compute dtype, for the other ranks' parts to be put in. Empty for a unit
  // that comes on demand until lend() gives it memory, and again after lend(unit, nullptr).
  std::span<std::byte> copy(std::size_t unit);
  void lend(std::size_t unit, std::byte* memory) { lent_[unit] = memory; }
  // Bytes owned here: masters, copies of whole units, and whole rows that are no operands.
  struct Bytes {
    std::int64_t masters = 0, copies = 0, rows = 0;
  };
  Bytes bytes() const;
  bool kept(std::size_t unit) const { return !on_demand_ || unit == 0; }
  bool has_products(std::size_t unit) const;
  // A row that is no operand: whole, fp32; in the masters themselves where those are whole.
  float* whole_row(std::size_t unit, int row);
  bool rows_apart() const { return !whole_masters_; }  // whole_row() is not in copy()
  void set_gate(UnitGate* gate) { gate_ = gate; }      // not owned

  // Fills this rank's masters: a function of (seed, parameter name, global element index) alone.
  void initialise(std::uint64_t seed);

  // ---- Inference.
  // Elements [first, first + values.size()) of a row in its own (in, out) order. A linear layer's
  // come by whole parts.
  void store(std::size_t unit, int row, std::int64_t first, std::span<const float> values);
  // A part lies elsewhere already, in the compute dtype, a linear layer's (out, in); `owner` keeps
  // it alive. Only of rows that are operands of products.
  void map(std::size_t unit, int row, std::int64_t part, const void* data,
           std::shared_ptr<const void> owner);

 private:
  struct Stored {  // one row for inference
    tensor::Buffer memory;
    std::vector<Weight> parts;
  };
  tensor::Tensor trained_weight(std::size_t unit, int row) const;

  std::vector<parallel::Unit> units_;
  tensor::DType compute_;
  // Training; by unit. masters_ hold elements [begins_, ends_), or the whole unit with
  // whole_masters_, where this rank still updates its shard alone.
  std::vector<tensor::Buffer> masters_, copies_, rows_;
  std::vector<std::int64_t> begins_, ends_;
  std::vector<std::vector<std::int64_t>> row_offsets_;  // in rows_; −1: an operand of products
  std::vector<std::byte*> lent_;
  bool whole_masters_ = true, on_demand_ = false;
  UnitGate* gate_ = nullptr;
  std::vector<std::vector<Stored>> stored_;  // inference; by unit and row
  bool transposed_ = false;
  std::vector<std::shared_ptr<const void>> owners_;
};

// Elements [first, first + count) of a row's slice as initialise() makes them: the same values
// whatever the slice.
void initial_values(const parallel::ParameterRow& row, std::uint64_t seed, std::int64_t first,
                    std::int64_t count, float* out);

// A row of a unit's flat fp32 buffer (gradients, moments) as (rows, columns).
tensor::Tensor row_of(const parallel::ParameterRow& row, float* buffer);

// Elements over all units, gaps left out: of this rank's slices, and of the whole tensors.
std::int64_t parameter_count(const std::vector<parallel::Unit>& units);
std::int64_t whole_parameter_count(const std::vector<parallel::Unit>& units);

}  // namespace eyrie::model
