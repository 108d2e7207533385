// The weights of a model on one rank. For training: per unit, fp32 masters and, in bf16, a compute
// copy of what products read. For inference: one copy in the compute dtype, owned or mapped.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "parallel/unit.h"
#include "tensor/arena.h"
#include "tensor/tensor.h"

namespace eyrie::model {

// A matrix that products read: (in, out), or with `transposed` (out, in), as Hugging Face keeps it.
struct Weight {
  tensor::Tensor tensor;
  bool transposed = false;
};

// Owns its memory, but for what was mapped. Reading is thread-safe.
class Parameters {
 public:
  // For training: masters, and in bf16 the compute copies.
  Parameters(std::vector<parallel::Unit> units, tensor::DType compute);

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

  // ---- Training.
  bool has_masters() const { return stored_.empty(); }
  float* master(std::size_t unit) { return masters_[unit].f32(); }
  const float* master(std::size_t unit) const { return masters_[unit].f32(); }

  // Rounds the unit's masters into its compute copy: after initialisation, loading and every
  // optimizer step. In fp32 the masters are what is computed with, and nothing happens; nor for
  // inference.
  void refresh(std::size_t unit);
  void refresh_all();

  // Fills the masters: a function of (seed, parameter name, global element index) alone.
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
  std::vector<parallel::Unit> units_;
  tensor::DType compute_;
  std::vector<tensor::Buffer> masters_, copies_;  // training; by unit
  std::vector<std::vector<Stored>> stored_;       // inference; by unit and row
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
