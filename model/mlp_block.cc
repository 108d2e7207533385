// The MLP block (GeGLU).
#include <cmath>

#include "model/initialization.h"
#include "model/layers.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/matmul.h"

namespace eyrie::model {

using tensor::Tensor;

MlpBlock::MlpBlock(const GriffinConfig& config, const LocalDims& dims, const std::string& name,
                   parallel::Unit& unit)
    : dims_(dims),
      // The JAX code counts the leading axis of two into the fan-in: variance 1/(2D), not 1/D.
      up_w_(unit.add({.name = name + "/ffw_up/w",
                      .shape = {2, config.width, config.mlp_width},
                      .start = {0, 0, dims.mlp.part.begin},
                      .extent = {2, config.width, dims.mlp.local()},
                      .initial_value = normal_value,
                      .deviation = std::sqrt(0.5 / static_cast<double>(config.width)),
                      .weight_decay = true,
                      .product = true,
                      .parts = 2,
                      .linear = true})),
      up_b_(unit.add({.name = name + "/ffw_up/b",
                      .shape = {2, 1, 1, config.mlp_width},
                      .start = {0, 0, 0, dims.mlp.part.begin},
                      .extent = {2, 1, 1, dims.mlp.local()}})),
      ffw_down_(name + "/ffw_down", dims.mlp, dims.width,
                std::sqrt(2.0 / static_cast<double>(config.layers.size()) /
                          static_cast<double>(config.mlp_width)),
                true, dims, unit) {}

// The two branches, before the activation function.
void MlpBlock::up(const Tensor& x, const UnitView& view, const Saved& to) const {
  const Tensor b = view.weight(up_b_);
  make_products({{x, view.matrix(up_w_, 0), b.row_range(0, 1), to.gate},
                 {x, view.matrix(up_w_, 1), b.row_range(1, 1), to.up}},
                view.decode);
}

void MlpBlock::forward(const Tensor& x, const UnitView& view, Pass& pass, Saved& saved,
                       const Tensor& y) const {
  const tensor::ArenaScope scope(pass.scratch);
  const std::int64_t width = dims_.mlp.local();
  const auto scratch = [&] { return pass.scratch.allocate(pass.compute, pass.tokens(), width); };
  const auto keep = [&] { return pass.keeps_mlp ? pass.keep(width) : scratch(); };
  const Saved branches{keep(), keep()};
  const Tensor hidden = scratch();
  up(x, view, branches);
  tensor::gelu_gate(branches.gate, branches.up, hidden);
  make_products({ffw_down_.product(hidden, view, y)}, view.decode);
  saved = pass.keeps_mlp ? branches : Saved();
}

void MlpBlock::backward(const Tensor& dy, const Tensor& x, const UnitView& view, Pass& pass,
                        const Saved& saved, const Tensor& dx) const {
  tensor::ArenaScope scope(pass.scratch);
  const std::int64_t n = pass.tokens(), width = dims_.width.global;
  const auto compute = [&] { return pass.scratch.allocate(pass.compute, n, dims_.mlp.local()); };
  Saved branches = saved;
  if (!branches.gate) {
    branches = {compute(), compute()};
    up(x, view, branches);
  }
  const Tensor dhidden = compute(), dgate = compute(), dup = compute();
  ffw_down_.input_gradient(dy, view, dhidden, false);
  // The hidden layer is not kept: it comes out again here, over its own gradient.
  const Tensor hidden = dhidden;
  tensor::gelu_gate_backward(dhidden, branches.gate, branches.up, dgate, dup, hidden);
  ffw_down_.weight_gradients(dy, hidden, view);
  const Tensor w = view.weight(up_w_), dw = view.gradient(up_w_), db = view.gradient(up_b_);
  tensor::column_sum(dgate, db.row_range(0, 1), true);
  tensor::column_sum(dup, db.row_range(1, 1), true);
  tensor::matmul(x, dgate, dw.row_range(0, width), {.transpose_a = true});
  tensor::matmul(x, dup, dw.row_range(width, width), {.transpose_a = true});
  tensor::matmul(dgate, w.row_range(0, width), dx, {.transpose_b = true});
  tensor::matmul(dup, w.row_range(width, width), dx, {.transpose_b = true, .accumulate = true});
}

}  // namespace eyrie::model
