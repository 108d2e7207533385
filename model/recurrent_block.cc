// The recurrent block.
#include <cmath>
#include <vector>

#include "model/initialization.h"
#include "model/layers.h"
#include "tensor/ops/conv1d.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/matmul.h"
#include "tensor/ops/rg_lru.h"

namespace eyrie::model {

using tensor::DType;
using tensor::Tensor;

RecurrentBlock::RecurrentBlock(const GriffinConfig& config, const LocalDims& dims,
                               const std::string& name, std::size_t layer, parallel::Unit& unit)
    : dims_(dims),
      layer_(layer),
      linear_x_(name + "/linear_x", dims.width, dims.rnn,
                std::sqrt(1.0 / static_cast<double>(config.width)), true, dims, unit),
      linear_y_(name + "/linear_y", dims.width, dims.rnn,
                std::sqrt(1.0 / static_cast<double>(config.width)), true, dims, unit),
      linear_out_(name + "/linear_out", dims.rnn, dims.width,
                  std::sqrt(2.0 / static_cast<double>(config.layers.size()) /
                            static_cast<double>(config.rnn_width)),
                  true, dims, unit) {
  const std::int64_t rnn = config.rnn_width, block = dims.gate_block;
  const parallel::Part channels = dims.rnn.part, own = dims.gate_blocks.part;
  conv_w_ = unit.add({.name = name + "/conv_1d/w",
                      .shape = {tensor::kConvWidth, rnn},
                      .start = {0, channels.begin},
                      .extent = {tensor::kConvWidth, channels.count},
                      .initial_value = normal_value,
                      .deviation = std::sqrt(0.01 / tensor::kConvWidth),
                      .weight_decay = true});
  conv_b_ = unit.add({.name = name + "/conv_1d/b",
                      .shape = {rnn},
                      .start = {channels.begin},
                      .extent = {channels.count}});
  // The JAX code counts the leading block axis into the fan-in: variance 1/R. The paper's LeCun
  // initialisation treats each block by itself: 1/(R/blocks).
  const bool paper = config.init == "paper";
  const double deviation = std::sqrt(1.0 / static_cast<double>(paper ? block : rnn));
  const auto gate = [&](const char* which) {
    return unit.add({.name = name + "/rg_lru/" + which + "/w",
                     .shape = {config.gate_blocks, block, block},
                     .start = {own.begin, 0, 0},
                     .extent = {own.count, block, block},
                     .initial_value = normal_value,
                     .deviation = deviation,
                     .weight_decay = true,
                     .product = true,
                     .parts = own.count});
  };
  const auto gate_bias = [&](const char* which) {
    return unit.add({.name = name + "/rg_lru/" + which + "/b",
                     .shape = {config.gate_blocks, block},
                     .start = {own.begin, 0},
                     .extent = {own.count, block}});
  };
  input_gate_w_ = gate("input_gate");
  input_gate_b_ = gate_bias("input_gate");
  a_gate_w_ = gate("a_gate");
  a_gate_b_ = gate_bias("a_gate");
  a_param_ = unit.add({.name = name + "/rg_lru/a_param",
                       .shape = {rnn},
                       .start = {channels.begin},
                       .extent = {channels.count},
                       .initial_value = paper ? paper_decay_value : decay_value});
}

// Computes i and r (n, R) fp32: block-diagonal products, one per block over strided columns.
void RecurrentBlock::gate_products(const Tensor& u, const UnitView& view, const Tensor& i,
                                   const Tensor& r) const {
  const std::int64_t blocks = dims_.gate_blocks.local(), block = dims_.gate_block;
  std::vector<Product> products;
  for (const auto& [row, out] : {std::pair{input_gate_w_, i}, {a_gate_w_, r}}) {
    for (std::int64_t b = 0; b < blocks; ++b) {
      products.push_back({u.column_range(b * block, block),
                          view.matrix(row, b),
                          {},
                          out.column_range(b * block, block)});
    }
  }
  make_products(products, view.decode);
}

void RecurrentBlock::convolve(const UnitView& view, Pass& pass, Saved& saved) const {
  constexpr std::int64_t kKept = tensor::kConvWidth - 1;
  tensor::ArenaScope scope(pass.scratch);
  Tensor history;
  if (pass.state != nullptr) history = pass.state->convolution(layer_);
  if (pass.context != nullptr) {
    saved.history = pass.saved.allocate(pass.compute, pass.sequences * kKept, dims_.rnn.local());
    rows_before(*pass.context, saved.conv_in, pass.sequences, saved.history, pass.scratch);
    // The convolution overwrites the history that it is given.
    history = pass.scratch.allocate(pass.compute, pass.sequences * kKept, dims_.rnn.local());
    tensor::copy(saved.history, history);
  }
  pass.by_length([&](std::int64_t s, std::int64_t count) {
    tensor::conv1d(pass.rows(saved.conv_in, s, count), view.weight(conv_w_), view.weight(conv_b_),
                   pass.places(pass.positions, s, count), count,
                   pass.rows(saved.conv_out, s, count),
                   history ? history.row_range(s * kKept, count * kKept) : history);
  });
}

void RecurrentBlock::recur(const UnitView& view, Pass& pass, Saved& saved) const {
  tensor::ArenaScope scope(pass.scratch);
  const Tensor input_bias = view.weight(input_gate_b_), a_bias = view.weight(a_gate_b_),
               a_param = view.weight(a_param_);
  const auto states = [&] {
    return pass.scratch.allocate(DType::kFloat32, pass.sequences, dims_.rnn.local());
  };
  Tensor carried;
  if (pass.state != nullptr) carried = pass.state->recurrent(layer_);
  if (pass.context != nullptr) {
    saved.start = pass.saved.allocate(DType::kFloat32, pass.sequences, dims_.rnn.local());
    const Tensor product = states(), last = states();
    tensor::rg_lru_summary(saved.conv_out, saved.i, saved.r, input_bias, a_bias, a_param,
                           pass.positions, pass.sequences, product, last);
    fold_pieces(*pass.context, product, last, false, saved.start, pass.scratch);
    carried = states();  // the recurrence overwrites the state that it is given
    tensor::copy(saved.start, carried);
  }
  pass.by_length([&](std::int64_t s, std::int64_t count) {
    tensor::rg_lru(pass.rows(saved.conv_out, s, count), pass.rows(saved.i, s, count),
                   pass.rows(saved.r, s, count), input_bias, a_bias, a_param,
                   pass.places(pass.positions, s, count), count, pass.rows(saved.h, s, count),
                   carried ? carried.row_range(s, count) : carried);
  });
}

void RecurrentBlock::forward(const Tensor& x, const UnitView& view, Pass& pass, Saved& saved,
                             const Tensor& y) const {
  const std::int64_t rnn = dims_.rnn.local();
  saved.gate = pass.keep(rnn);
  saved.conv_in = pass.keep(rnn);
  saved.conv_out = pass.keep(rnn);
  saved.i = pass.keep_fp32(rnn);
  saved.r = pass.keep_fp32(rnn);
  saved.h = pass.keep(rnn);
  make_products({linear_y_.product(x, view, saved.gate), linear_x_.product(x, view, saved.conv_in)},
                view.decode);
  convolve(view, pass, saved);
  gate_products(saved.conv_out, view, saved.i, saved.r);
  recur(view, pass, saved);
  const tensor::ArenaScope scope(pass.scratch);
  const Tensor gated = pass.scratch.allocate(pass.compute, pass.tokens(), rnn);
  tensor::gelu_gate(saved.gate, saved.h, gated);
  make_products({linear_out_.product(gated, view, y)}, view.decode);
}

void RecurrentBlock::backward(const Tensor& dy, const Tensor& x, const UnitView& view, Pass& pass,
                              const Saved& saved, const Tensor& dx) const {
  tensor::ArenaScope scope(pass.scratch);
  const std::int64_t n = pass.tokens(), rnn = dims_.rnn.local();
  const std::int64_t blocks = dims_.gate_blocks.local(), block = dims_.gate_block;
  const auto compute = [&] { return pass.scratch.allocate(pass.compute, n, rnn); };
  const auto fp32 = [&] { return pass.scratch.allocate(DType::kFloat32, n, rnn); };
  const Tensor dgated = compute(), dgate = compute(), dh = fp32();
  linear_out_.input_gradient(dy, view, dgated, false);
  // The gated output is not kept: it comes out again here, over its own gradient.
  const Tensor gated = dgated;
  tensor::gelu_gate_backward(dgated, saved.gate, saved.h, dgate, dh, gated);
  linear_out_.weight_gradients(dy, gated, view);
  const Tensor du = fp32(), dinput_gate = compute(), da_gate = compute();
  Tensor dlast;  // the gradient of the piece's last state
  if (pass.context != nullptr) {
    const auto states = [&] { return pass.scratch.allocate(DType::kFloat32, pass.sequences, rnn); };
    dlast = states();
    const Tensor product = states(), rest = states();
    tensor::rg_lru_backward_summary(dh, saved.r, view.weight(a_param_), pass.positions,
                                    pass.sequences, product, rest);
    fold_pieces(*pass.context, product, rest, true, dlast, pass.scratch);
  }
  tensor::rg_lru_backward({.dh = dh,
                           .u = saved.conv_out,
                           .i = saved.i,
                           .r = saved.r,
                           .h = saved.h,
                           .a_param = view.weight(a_param_),
                           .positions = pass.positions,
                           .initial_state = saved.start,
                           .dstate_last = dlast,
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
  tensor::ConvNeighbours neighbours;
  if (pass.context != nullptr) {
    neighbours = {
        saved.history,
        pass.scratch.allocate(DType::kFloat32, pass.sequences * (tensor::kConvWidth - 1), rnn),
        pass.next_positions};
    rows_after(*pass.context, du, pass.sequences, neighbours.next_dy, pass.scratch);
  }
  tensor::conv1d_backward(du, saved.conv_in, view.weight(conv_w_), pass.positions, pass.sequences,
                          dconv_in, view.gradient(conv_w_), view.gradient(conv_b_), neighbours);
  linear_x_.backward(dconv_in, x, view, dx, false);
  linear_y_.backward(dgate, x, view, dx, true);
}

}  // namespace eyrie::model
