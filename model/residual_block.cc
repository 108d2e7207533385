// Residual blocks, forward and backward.
#include "model/residual_block.h"

#include "tensor/ops/rms_norm.h"

namespace eyrie::model {

using tensor::DType;
using tensor::Tensor;

int add_norm_scale(const std::string& name, std::int64_t width, const ParallelContext& context,
                   parallel::Unit& unit) {
  // With sequence parallelism a tensor rank's gradient covers its own tokens only: they are summed.
  const bool sum = context.sequence && context.tensor_ranks() > 1;
  return unit.add(
      {.name = name + "/scale",
       .shape = {width},
       .tensor_gradient = sum ? parallel::TensorGradient::kSum : parallel::TensorGradient::kOwn});
}

ResidualBlock::ResidualBlock(const GriffinConfig& config, const ParallelContext& context,
                             const LocalDims& dims, std::size_t layer, parallel::Unit& unit)
    : tensor_parallel_(context),
      width_(config.width),
      temporal_scale_(
          add_norm_scale(unit.name + "/temporal_pre_norm", config.width, context, unit)),
      channel_scale_(add_norm_scale(unit.name + "/channel_pre_norm", config.width, context, unit)) {
  // In the order of the parameters in the unit.
  mlp_.emplace(config, dims, unit.name + "/mlp_block", unit);
  if (config.layers[layer] == 'R') {
    recurrent_.emplace(config, dims, unit.name + "/recurrent_block", layer, unit);
  } else {
    attention_.emplace(config, dims, unit.name + "/attention_block", layer, unit);
  }
}

void ResidualBlock::forward(ResidualStream& stream, const UnitView& view, Pass& pass,
                            Activations& activations, bool keeps) const {
  const std::int64_t rows = tensor_parallel_.stream_rows(pass);
  const auto normed_sum = [&](int scale, Tensor& normed, Tensor& inverse_rms) {
    normed = pass.saved.allocate(pass.compute, rows, width_);
    inverse_rms = pass.saved.allocate(DType::kFloat32, 1, rows);
    if (stream.pending) {
      const Tensor sum = keeps ? pass.saved.allocate(DType::kFloat32, rows, width_) : stream.spare;
      tensor::add_rms_norm(stream.x, stream.delta, sum, view.weight(scale), normed, inverse_rms);
      if (!keeps) stream.spare = stream.x;
      stream.x = sum;
    } else {
      tensor::rms_norm(stream.x, view.weight(scale), normed, inverse_rms);
    }
    stream.pending = true;
  };
  const auto through = [&](const Tensor& normed, const auto& sub_block) {
    const tensor::ArenaScope scope(pass.scratch);
    const Tensor out = tensor_parallel_.partial_sums(stream.delta, pass);
    sub_block(tensor_parallel_.all_rows(normed, pass), out);
    tensor_parallel_.reduce(out, stream.delta, pass, pass.compute);
  };
  normed_sum(temporal_scale_, activations.temporal_normed, activations.temporal_inverse);
  activations.x = stream.x;
  through(activations.temporal_normed, [&](const Tensor& x, const Tensor& y) {
    if (recurrent_) {
      recurrent_->forward(x, view, pass, activations.recurrent, y);
    } else {
      attention_->forward(x, view, pass, activations.attention, y);
    }
  });
  normed_sum(channel_scale_, activations.channel_normed, activations.channel_inverse);
  activations.middle = stream.x;
  through(activations.channel_normed, [&](const Tensor& x, const Tensor& y) {
    mlp_->forward(x, view, pass, activations.mlp, y);
  });
}

void ResidualBlock::backward(const StreamGradient& gradient, const UnitView& view, Pass& pass,
                             const Activations& activations) const {
  const auto back_through = [&](const Tensor& normed, const auto& sub_block) {
    const tensor::ArenaScope scope(pass.scratch);
    const Tensor dx = tensor_parallel_.partial_sums(gradient.dnormed, pass),
                 dy = tensor_parallel_.all_rows(gradient.rounded, pass);
    sub_block(dy, tensor_parallel_.all_rows(normed, pass), dx);
    tensor_parallel_.reduce(dx, gradient.dnormed, pass, pass.compute);
  };
  const auto norm_backward = [&](int scale, const Tensor& x, const Tensor& inverse_rms) {
    tensor::rms_norm_backward(gradient.dnormed, x, view.weight(scale), inverse_rms, gradient.d,
                              view.gradient(scale), gradient.rounds_to());
  };
  back_through(activations.channel_normed,
               [&](const Tensor& dy, const Tensor& x, const Tensor& dx) {
                 mlp_->backward(dy, x, view, pass, activations.mlp, dx);
               });
  norm_backward(channel_scale_, activations.middle, activations.channel_inverse);
  back_through(activations.temporal_normed,
               [&](const Tensor& dy, const Tensor& x, const Tensor& dx) {
                 if (recurrent_) {
                   recurrent_->backward(dy, x, view, pass, activations.recurrent, dx);
                 } else {
                   attention_->backward(dy, x, view, pass, activations.attention, dx);
                 }
               });
  norm_backward(temporal_scale_, activations.x, activations.temporal_inverse);
}

}  // namespace eyrie::model
