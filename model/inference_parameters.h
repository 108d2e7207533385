// The weights of a model for inference: no master weights; operands of matrix products in the
// compute dtype only, owned or memory-mapped.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "model/parameters.h"
#include "tensor/arena.h"

namespace eyrie::model {

class InferenceParameters final : public Parameters {
 public:
  // With `transposed`, linear layers are stored (out, in), so that decoding reads memory in order;
  // without, (in, out) as in training, so that scores have training's bits on every processor. To
  // be filled by store() or map().
  InferenceParameters(std::vector<parallel::Unit> units, tensor::DType compute,
                      bool transposed = true);

  tensor::Tensor weight(std::size_t unit, int parameter) const override;
  Weight matrix(std::size_t unit, int parameter, std::int64_t part = 0) const override;
  void store(std::size_t unit, int parameter, std::int64_t first,
             std::span<const float> values) override;
  tensor::DType stored_dtype(std::size_t unit, int parameter) const override {
    return info(unit, parameter).product ? compute_ : tensor::DType::kFloat32;
  }
  // Uses a part that is in memory elsewhere, in the compute dtype, for a linear layer (out, in);
  // `owner` keeps it alive. Only for operands of matrix products.
  void map(std::size_t unit, int parameter, std::int64_t part, const void* data,
           std::shared_ptr<const void> owner);

 private:
  struct Stored {  // one parameter
    tensor::Buffer memory;
    std::vector<Weight> parts;
  };

  std::vector<std::vector<Stored>> stored_;  // by unit and parameter
  bool transposed_;
  std::vector<std::shared_ptr<const void>> owners_;
};

}  // namespace eyrie::model
