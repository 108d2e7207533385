// The weights of a model on one rank, as passes read them: training keeps fp32 master weights
// (training_parameters.h), inference one copy in the compute dtype (inference_parameters.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "parallel/sharding/sharded_weights.h"
#include "tensor/tensor.h"

namespace eyrie::model {

// An operand of matrix products: (in, out), or with `transposed` (out, in), as Hugging Face stores
// it.
struct Weight {
  tensor::Tensor tensor;
  bool transposed = false;
  // Of transposed weights in int8 (tensor/ops/int8.h); else empty.
  tensor::Tensor scales = {};
  std::int64_t block = 0;
};

// Reading is thread-safe.
class Parameters {
 public:
  virtual ~Parameters() = default;
  const std::vector<parallel::Unit>& units() const { return units_; }
  tensor::DType compute_dtype() const { return compute_; }
  virtual tensor::Device device() const { return tensor::Device::kCpu; }

  // As (rows, columns): all dimensions but the last, and the last. Operands of matrix products in
  // the compute dtype, the rest in fp32.
  virtual tensor::Tensor weight(std::size_t unit, int parameter) const = 0;
  // One of the `parts` matrices of a parameter.
  virtual Weight matrix(std::size_t unit, int parameter, std::int64_t part = 0) const = 0;

  // Stores elements [first, first + values.size()) of a parameter, in its (in, out) order, as they
  // are loaded. Those of a linear layer come in whole parts. finish_loading() follows the last.
  virtual void store(std::size_t unit, int parameter, std::int64_t first,
                     std::span<const float> values) = 0;
  virtual tensor::DType stored_dtype(std::size_t unit, int parameter) const = 0;  // that it keeps
  virtual void finish_loading() {}

  // Called around every use of a unit's weights: where units are sharded (ZeRO 3) they are gathered
  // for that time. `next`: the unit that is read next (parallel::kNoUnit: not known). All ranks of
  // the shard group make the same calls in the same order.
  virtual void unshard(std::size_t /*unit*/, std::size_t /*next*/) const {}
  virtual void reshard(std::size_t /*unit*/) const {}
  // For evaluation, where ranks run unequal numbers of passes: begin_pass() before each pass, and
  // finish_passes() when this rank has no more. It then joins the others' all-gathers until all
  // ranks are done.
  virtual void begin_pass() const {}
  virtual void finish_passes() const {}

 protected:
  Parameters(std::vector<parallel::Unit> units, tensor::DType compute)
      : units_(std::move(units)), compute_(compute) {}
  Parameters(Parameters&&) = default;
  Parameters& operator=(Parameters&&) = default;
  const parallel::ParameterInfo& info(std::size_t unit, int parameter) const {
    return units_[unit].parameters[static_cast<std::size_t>(parameter)];
  }

  std::vector<parallel::Unit> units_;
  tensor::DType compute_;
};

// A parameter's sizes as a matrix: all dimensions of this rank's slice but the last, and the last.
std::int64_t rows_of(const parallel::ParameterInfo& info);
std::int64_t columns_of(const parallel::ParameterInfo& info);
// A parameter as a matrix, from a row of its elements.
tensor::Tensor shaped(const parallel::ParameterInfo& info, const tensor::Tensor& elements);
// The same from a row of all elements of its unit (weights, gradients, moments).
tensor::Tensor parameter_in(const parallel::ParameterInfo& info, const tensor::Tensor& unit);

// Elements of all units, without alignment gaps: of this rank's slices, and of the whole tensors.
std::int64_t parameter_count(const std::vector<parallel::Unit>& units);
std::int64_t whole_parameter_count(const std::vector<parallel::Unit>& units);

}  // namespace eyrie::model
