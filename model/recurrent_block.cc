// Linear and the recurrent block.
#include "model/layers.h"
#include "tensor/ops/conv1d.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/matmul.h"
#include "tensor/ops/rg_lru.h"

#include <cmath>

namespace eyrie::model {

using parallel::Init;
using tensor::DType;
using tensor::Tensor;

Linear::Linear(const std::string& name, std::int64_t in, std::int64_t out, double deviation,
               bool bias, parallel::Unit& unit) {
  kernel_ = unit.add({.name = name + "/kernel",
                      .shape = {in, out},
                      .init = Init::kNormal,
                      .deviation = deviation,
                      .decay = true,
                      .product = true});
  if (bias) bias_ = unit.add({.name = name + "/bias", .shape = {out}});
}

void Linear::forward(const Tensor& x, const UnitView& view, const Tensor& y) const {
  tensor::matmul(x, view.weight(kernel_), y, {.split_columns = view.decode},
                 bias_ < 0 ? Tensor() : view.weight(bias_));
}

void Linear::backward(const Tensor& dy, const Tensor& x, const UnitView& view, const Tensor& dx,
                      bool accumulate) const {
  if (bias_ >= 0) tensor::column_sum(dy, view.gradient(bias_), true);
  tensor::matmul(x, dy, view.gradient(kernel_), {.transpose_a = true});
  tensor::matmul(dy, view.weight(kernel_), dx, {.transpose_b = true, .accumulate = accumulate});
}

RecurrentBlock::RecurrentBlock(const GriffinConfig& config, const std::string& name,
                               std::size_t layer, parallel::Unit& unit)
    : config_(config),
      layer_(layer),
      linear_x_(name + "/linear_x", config.width, config.rnn_width,
                std::sqrt(1.0 / static_cast<double>(config.width)), true, unit),
      linear_y_(name + "/linear_y", config.width, config.rnn_width,
                std::sqrt(1.0 / static_cast<double>(config.width)), true, unit),
      linear_out_(name + "/linear_out", config.rnn_width, config.width,
                  std::sqrt(2.0 / static_cast<double>(config.layers.size()) /
                            static_cast<double>(config.rnn_width)),
                  true, unit) {
  const std::int64_t rnn = config.rnn_width, blocks = config.gate_blocks, block = rnn / blocks;
  conv_w_ = unit.add({.name = name + "/conv_1d/w",
                      .shape = {tensor::kConvWidth, rnn},
                      .init = Init::kNormal,
                      .deviation = std::sqrt(0.01 / tensor::kConvWidth),
                      .decay = true});
  conv_b_ = unit.add({.name = name + "/conv_1d/b", .shape = {rnn}});
  // The JAX code counts the leading block axis into the fan: variance 1/R, not 1/(R/blocks).
  const double deviation = std::sqrt(1.0 / static_cast<double>(rnn));
  const auto gate = [&](const char* which) {
    return unit.add({.name = name + "/rg_lru/" + which + "/w",
                     .shape = {blocks, block, block},
                     .init = Init::kNormal,
                     .deviation = deviation,
                     .decay = true,
                     .product = true});
  };
  const auto gate_bias = [&](const char* which) {
    return unit.add({.name = name + "/rg_lru/" + which + "/b", .shape = {blocks, block}});
  };
  input_gate_w_ = gate("input_gate");
  input_gate_b_ = gate_bias("input_gate");
  a_gate_w_ = gate("a_gate");
  a_gate_b_ = gate_bias("a_gate");
  a_param_ = unit.add({.name = name + "/rg_lru/a_param", .shape = {rnn}, .init = Init::kDecay});
}

// out (n, R) fp32: the block-diagonal product, one product a block over strided columns.
void RecurrentBlock::gate_products(const Tensor& u, const UnitView& view, int row,
                                   const Tensor& out) const {
  const std::int64_t blocks = config_.gate_blocks, block = config_.rnn_width / blocks;
  for (std::int64_t b = 0; b < blocks; ++b) {
    tensor::matmul(u.column_range(b * block, block), view.weight(row).row_range(b * block, block),
                   out.column_range(b * block, block));
  }
}

void RecurrentBlock::forward(const Tensor& x, const UnitView& view, Pass& pass, Saved& saved,
                             const Tensor& y) const {
  const std::int64_t rnn = config_.rnn_width;
  saved.gate = pass.keep(rnn);
  saved.conv_in = pass.keep(rnn);
  saved.conv_out = pass.keep(rnn);
  saved.i = pass.keep_fp32(rnn);
  saved.r = pass.keep_fp32(rnn);
  saved.h = pass.keep(rnn);
  saved.gated = pass.keep(rnn);
  linear_y_.forward(x, view, saved.gate);
  linear_x_.forward(x, view, saved.conv_in);
  Tensor history, carried;
  if (pass.state != nullptr) {
    State::Layer& layer = pass.state->layers_[layer_];
    history = Tensor(layer.convolution.data(), pass.compute,
                     pass.sequences * (tensor::kConvWidth - 1), rnn);
    carried = Tensor(layer.recurrent.data(), DType::kFloat32, pass.sequences, rnn);
  }
  tensor::conv1d(saved.conv_in, view.weight(conv_w_), view.weight(conv_b_), pass.positions,
                 pass.sequences, saved.conv_out, history);
  gate_products(saved.conv_out, view, input_gate_w_, saved.i);
  gate_products(saved.conv_out, view, a_gate_w_, saved.r);
  tensor::rg_lru(saved.conv_out, saved.i, saved.r, view.weight(input_gate_b_),
                 view.weight(a_gate_b_), view.weight(a_param_), pass.positions, pass.sequences,
                 saved.h, carried);
  tensor::gelu_gate(saved.gate, saved.h, saved.gated);
  linear_out_.forward(saved.gated, view, y);
}

void RecurrentBlock::backward(const Tensor& dy, const Tensor& x, const UnitView& view, Pass& pass,
                              const Saved& saved, const Tensor& dx) const {
  tensor::ArenaScope scope(pass.scratch);
  const std::int64_t n = pass.tokens(), rnn = config_.rnn_width;
  const std::int64_t blocks = config_.gate_blocks, block = rnn / blocks;
  const auto compute = [&] { return pass.scratch.allocate(pass.compute, n, rnn); };
  const auto fp32 = [&] { return pass.scratch.allocate(DType::kFloat32, n, rnn); };
  const Tensor dgated = compute(), dgate = compute(), dh = fp32();
  linear_out_.backward(dy, saved.gated, view, dgated, false);
  tensor::gelu_gate_backward(dgated, saved.gate, saved.h, dgate, dh);
  const Tensor du = fp32(), dinput_gate = compute(), da_gate = compute();
  tensor::rg_lru_backward({.dh = dh,
                           .u = saved.conv_out,
                           .i = saved.i,
                           .r = saved.r,
                           .h = saved.h,
                           .a_param = view.weight(a_param_),
                           .positions = pass.positions,
                           .initial_state = {},
                           .dstate_last = {},
                           .du = du,
                           .dgate_x = dinput_gate,
                           .dgate_a = da_gate,
                           .dbias_x = view.gradient(input_gate_b_),
                           .dbias_a = view.gradient(a_gate_b_),
                           .da_param = view.gradient(a_param_),
                           .dinitial_state = {}},
                          pass.sequences);
  for (const auto& [row, gradient] :
       {std::pair{input_gate_w_, dinput_gate}, {a_gate_w_, da_gate}}) {
    for (std::int64_t b = 0; b < blocks; ++b) {
      const Tensor upstream = gradient.column_range(b * block, block);
      tensor::matmul(saved.conv_out.column_range(b * block, block), upstream,
                     view.gradient(row).row_range(b * block, block), {.transpose_a = true});
      tensor::matmul(upstream, view.weight(row).row_range(b * block, block),
                     du.column_range(b * block, block), {.transpose_b = true, .accumulate = true});
    }
  }
  const Tensor dconv_in = compute();
  tensor::conv1d_backward(du, saved.conv_in, view.weight(conv_w_), pass.positions, pass.sequences,
                          dconv_in, view.gradient(conv_w_), view.gradient(conv_b_));
  linear_x_.backward(dconv_in, x, view, dx, false);
  linear_y_.backward(dgate, x, view, dx, true);
}

}  // namespace eyrie::model
