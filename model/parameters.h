// The weights of a model on one rank: per unit, fp32 masters and, in bf16, a compute copy of what
// products read.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "parallel/unit.h"
#include "tensor/arena.h"
#include "tensor/tensor.h"

namespace eyrie::model {

// Owns its memory. Reading is thread-safe.
class Parameters {
 public:
  Parameters(std::vector<parallel::Unit> units, tensor::DType compute);

  const std::vector<parallel::Unit>& units() const { return units_; }
  tensor::DType compute() const { return compute_; }

  float* master(std::size_t unit) { return masters_[unit].f32(); }
  const float* master(std::size_t unit) const { return masters_[unit].f32(); }

  // Rounds the unit's masters into its compute copy: after initialisation, loading and every
  // optimizer step. In fp32 the masters are what is computed with, and nothing happens.
  void refresh(std::size_t unit);
  void refresh_all();

  // As (rows, columns): all dimensions but the last, and the last. In compute dtype for products,
  // fp32 for the rest.
  tensor::Tensor weight(std::size_t unit, int row) const;

  // Fills the masters: a function of (seed, parameter name, global element index) alone.
  void initialise(std::uint64_t seed);

 private:
  std::vector<parallel::Unit> units_;
  tensor::DType compute_;
  std::vector<tensor::Buffer> masters_, copies_;
};

// Elements [first, first + count) of a row as initialise() makes them; the row is the whole tensor.
void initial_values(const parallel::ParameterRow& row, std::uint64_t seed, std::int64_t first,
                    std::int64_t count, float* out);

// A row of a unit's flat fp32 buffer (gradients, moments) as (rows, columns).
tensor::Tensor row_of(const parallel::ParameterRow& row, float* buffer);

// Elements over all units, gaps left out.
std::int64_t parameter_count(const std::vector<parallel::Unit>& units);

}  // namespace eyrie::model
