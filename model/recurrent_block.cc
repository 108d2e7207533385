// Linear and the recurrent block.
#include <cmath>
#include <cstring>
#include <vector>

#include "model/layers.h"
#include "tensor/ops/conv1d.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/few_rows.h"
#include "tensor/ops/matmul.h"
#include "tensor/ops/rg_lru.h"

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
                      .product = true,
                      .linear = true});
  if (bias) bias_ = unit.add({.name = name + "/bias", .shape = {out}});
}

Product Linear::product(const Tensor& x, const UnitView& view, const Tensor& y) const {
  return {x, view.matrix(kernel_), bias_ < 0 ? Tensor() : view.weight(bias_), y};
}

void make_products(std::initializer_list<Product> products, bool decode) {
  make_products(std::span(products.begin(), products.size()), decode);
}

void make_products(std::span<const Product> products, bool decode) {
  if (!decode) {
    for (const Product& p : products) {
      tensor::matmul(p.x, p.weight.tensor, p.out, {.transpose_b = p.weight.transposed}, p.bias);
    }
    return;
  }
  std::vector<tensor::FewRowsProduct> together;
  for (const Product& p : products)
    together.push_back({p.x, p.weight.tensor, p.weight.transposed, p.bias, p.out});
  tensor::few_rows(together);
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
  // The JAX code counts the leading block axis into the fan: variance 1/R. The paper's LeCun
  // initialisation is of each block by itself: 1/(R/blocks).
  const bool paper = config.init == "paper";
  const double deviation = std::sqrt(1.0 / static_cast<double>(paper ? block : rnn));
  const auto gate = [&](const char* which) {
    return unit.add({.name = name + "/rg_lru/" + which + "/w",
                     .shape = {blocks, block, block},
                     .init = Init::kNormal,
                     .deviation = deviation,
                     .decay = true,
                     .product = true,
                     .parts = blocks});
  };
  const auto gate_bias = [&](const char* which) {
    return unit.add({.name = name + "/rg_lru/" + which + "/b", .shape = {blocks, block}});
  };
  input_gate_w_ = gate("input_gate");
  input_gate_b_ = gate_bias("input_gate");
  a_gate_w_ = gate("a_gate");
  a_gate_b_ = gate_bias("a_gate");
  a_param_ = unit.add({.name = name + "/rg_lru/a_param",
                       .shape = {rnn},
                       .init = paper ? Init::kPaperDecay : Init::kDecay});
}

// i and r (n, R) fp32: the block-diagonal products, one a block over strided columns.
void RecurrentBlock::gate_products(const Tensor& u, const UnitView& view, const Tensor& i,
                                   const Tensor& r) const {
  const std::int64_t blocks = config_.gate_blocks, block = config_.rnn_width / blocks;
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
  make_products({linear_y_.product(x, view, saved.gate), linear_x_.product(x, view, saved.conv_in)},
                view.decode);
  Tensor history, carried;
  if (pass.state != nullptr) {
    history = pass.state->convolution(layer_);
    carried = pass.state->recurrent(layer_);
  }
  // Sequences of different length are walked one by one, each to its own end.
  const auto by_sequence = [&](const auto& walk) {
    if (pass.lengths.empty()) return walk(0, pass.sequences, pass.length);
    for (std::int64_t s = 0; s < pass.sequences; ++s) walk(s, 1, pass.length_of(s));
  };
  const auto rows = [&](const Tensor& t, std::int64_t s, std::int64_t count, std::int64_t length) {
    return t.row_range(s * pass.length, count * length);
  };
  const auto places = [&](std::int64_t s, std::int64_t count, std::int64_t length) {
    return pass.positions.column_range(s * pass.length, count * length);
  };
  const auto clear_padding = [&](const Tensor& t) {  // what is read of it must be numbers
    if (pass.lengths.empty()) return;
    for (std::int64_t s = 0; s < pass.sequences; ++s) {
      const Tensor padding =
          t.row_range(s * pass.length + pass.length_of(s), pass.length - pass.length_of(s));
      std::memset(padding.data(), 0,
                  static_cast<std::size_t>(padding.count() * size_of(padding.dtype())));
    }
  };
  by_sequence([&](std::int64_t s, std::int64_t count, std::int64_t length) {
    const std::int64_t kept = tensor::kConvWidth - 1;
    tensor::conv1d(rows(saved.conv_in, s, count, length), view.weight(conv_w_),
                   view.weight(conv_b_), places(s, count, length), count,
                   rows(saved.conv_out, s, count, length),
                   history ? history.row_range(s * kept, count * kept) : history);
  });
  clear_padding(saved.conv_out);
  gate_products(saved.conv_out, view, saved.i, saved.r);
  by_sequence([&](std::int64_t s, std::int64_t count, std::int64_t length) {
    tensor::rg_lru(rows(saved.conv_out, s, count, length), rows(saved.i, s, count, length),
                   rows(saved.r, s, count, length), view.weight(input_gate_b_),
                   view.weight(a_gate_b_), view.weight(a_param_), places(s, count, length), count,
                   rows(saved.h, s, count, length),
                   carried ? carried.row_range(s, count) : carried);
  });
  clear_padding(saved.h);
  tensor::gelu_gate(saved.gate, saved.h, saved.gated);
  make_products({linear_out_.product(saved.gated, view, y)}, view.decode);
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
