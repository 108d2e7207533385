// One residual block: norm, recurrent or attention block, sum; norm, MLP, sum (Griffin, arXiv
// 2402.19427, section 2.1).
#pragma once

#include <cstdint>
#include <optional>

#include "model/layers.h"
#include "model/tensor_parallel.h"

namespace eyrie::model {

// The residual stream of this rank's rows, fp32: x + delta if `pending`, else x. A sum is made
// where it is needed next, by the norm that reads it.
struct ResidualStream {
  tensor::Tensor x, delta;
  tensor::Tensor spare = {};  // if the sums are not kept: memory that takes turns with that of x
  bool pending = false;
};

// The gradient of the residual stream on the way back, for this rank's rows.
struct StreamGradient {
  tensor::Tensor d;        // fp32
  tensor::Tensor rounded;  // in the compute dtype, for matrix products; d itself in fp32
  tensor::Tensor dnormed;  // fp32: the gradient at the output of a norm
  // Where a norm's backward pass rounds d; empty in fp32.
  tensor::Tensor rounds_to() const {
    return rounded.dtype() == tensor::DType::kFloat32 ? tensor::Tensor() : rounded;
  }
};

class ResidualBlock {
 public:
  // Adds its parameters to the unit. `dims` must outlive it, and so must `config`.
  ResidualBlock(const GriffinConfig& config, const ParallelContext& context, const LocalDims& dims,
                std::size_t layer, parallel::Unit& unit);

  struct Activations {
    tensor::Arena::Mark before = {};  // of the saved arena; released after the backward pass
    tensor::Tensor x, temporal_normed, temporal_inverse;     // the block's input and its norm
    tensor::Tensor middle, channel_normed, channel_inverse;  // after the temporal sub-block
    RecurrentBlock::Saved recurrent;
    AttentionBlock::Saved attention;
    MlpBlock::Saved mlp;
  };
  // Runs the two sub-blocks; the output of the second is left pending. With `keeps`, everything
  // that backward() needs is kept: every sum of the stream has memory of its own.
  void forward(ResidualStream& stream, const UnitView& view, Pass& pass, Activations& activations,
               bool keeps) const;
  void backward(const StreamGradient& gradient, const UnitView& view, Pass& pass,
                const Activations& activations) const;

 private:
  TensorParallel tensor_parallel_;
  std::int64_t width_;
  int temporal_scale_, channel_scale_;
  std::optional<RecurrentBlock> recurrent_;
  std::optional<AttentionBlock> attention_;
  std::optional<MlpBlock> mlp_;
};

// Adds the scale of a norm to a unit; returns its index.
int add_norm_scale(const std::string& name, std::int64_t width, const ParallelContext& context,
                   parallel::Unit& unit);

}  // namespace eyrie::model
