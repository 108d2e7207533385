// The weights of a model for inference: no master weights; operands of matrix products in the
// compute dtype only, owned or memory-mapped; or linear layers and embedding in int8.
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
  // With `int8` they always are (out, in), and so rounded: one scale per output, in the embedding
  // one per kEmbeddingBlock columns.
  InferenceParameters(std::vector<parallel::Unit> units, tensor::DType compute,
                      bool transposed = true, bool int8 = false);
  static constexpr std::int64_t kEmbeddingBlock = 128;
  bool has_int8() const { return int8_; }

  tensor::Tensor weight(std::size_t unit, int parameter) const override;
  Weight matrix(std::size_t unit, int parameter, std::int64_t part = 0) const override;
  void store(std::size_t unit, int parameter, std::int64_t first,
             std::span<const float> values) override;
  tensor::DType stored_dtype(std::size_t unit, int parameter) const override {
    if (!info(unit, parameter).product) return tensor::DType::kFloat32;
    return is_int8(unit, parameter) ? tensor::DType::kInt8 : compute_;
  }
  // Uses a part that is in memory elsewhere, in the compute dtype, for a linear layer (out, in);
  // `owner` keeps it alive. Only for operands of matrix products.
  void map(std::size_t unit, int parameter, std::int64_t part, const void* data,
           std::shared_ptr<const void> owner);
  // Stores a part in int8, from fp32 or bf16; a linear layer's is (out, in). Only where
  // stored_dtype() is int8.
  void quantize(std::size_t unit, int parameter, std::int64_t part, const tensor::Tensor& matrix);

 private:
  bool is_int8(std::size_t unit, int parameter) const {
    // The gates' small blocks stay as they are: they are read in place, not transposed.
    return int8_ && (info(unit, parameter).linear || unit == 0);
  }
  void store_int8(std::size_t unit, int parameter, std::int64_t first,
                  std::span<const float> values);
  struct Stored {  // one parameter
    tensor::Buffer memory, scales;
    std::vector<Weight> parts;
  };
  const Weight& int8_part(std::size_t unit, int parameter, std::int64_t part);  // allocated

  std::vector<std::vector<Stored>> stored_;  // by unit and parameter
  bool transposed_, int8_;
  std::vector<std::shared_ptr<const void>> owners_;
};

}  // namespace eyrie::model
